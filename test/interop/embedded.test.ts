/** The interoperability suites on embedded stores, in one process. */
import { EMBEDDED } from '../support/deployment.ts';
import { allSuites } from './suites/all.ts';

allSuites(EMBEDDED);
