/** A bucket of Cloud Storage keeps the promises of an object store. */

import { emulatedObjects } from '../support/gcs-objects.ts';
import { objectStoreContract } from './object-store.contract.ts';

objectStoreContract('A bucket of Cloud Storage', emulatedObjects);
