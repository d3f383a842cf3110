/**
 * The interoperability suites on cloud backends, with each service and two workers as separate processes, each in a name of its
 * own and with no rights but those that it needs.
 */
import { after, before, suite } from 'node:test';
import { needsCloud } from '../support/cloud.ts';
import { type CloudDeployment, startCloudDeployment } from '../support/cloud-deployment.ts';
import { allSuites } from './suites/all.ts';
import { PING_HOST } from './suites/internet-ping.ts';
import { rights } from './suites/rights.ts';

suite('On cloud backends, each service a process', needsCloud(), () => {
  let running: CloudDeployment;

  before(async () => {
    running = await startCloudDeployment(PING_HOST);
  });

  after(() => running?.[Symbol.asyncDispose]());

  allSuites({
    start: (options) => running.start(options),
    internet: (host) => running.internet(host),
    startRestartable: () => running.startRestartable(),
  });
  rights(() => running);
});
