/**
 * `npm run emulators`: a whole gateway on cloud backends on this machine, for people: Redis, Google's emulator of
 * Firestore, our emulators of Cloud Storage and Cloud KMS, and each service a process. Ctrl-C ends all.
 */
import { once } from 'node:events';
import { table } from '../../src/cli/table.ts';
import { needsCloud, startCloud } from '../support/cloud.ts';
import { startFleet } from '../support/fleet.ts';

/** Where the doors listen, as a gateway's own do by default. */
const PORTS = { poweb: 8080, pohttp: 8081, cogrpc: 8082 };

const FAULT = 1;

const { skip } = needsCloud();
if (skip) {
  console.error(String(skip));
  process.exit(FAULT);
}

const interrupted = Promise.race([once(process, 'SIGINT'), once(process, 'SIGTERM')]);
console.log('Starting four services and six processes ...');
try {
  await using cloud = await startCloud();
  await using fleet = await startFleet({ cloud, ports: PORTS });
  const { poweb, pohttp, cogrpc, nodeId, internetAddress } = fleet.addresses;
  const rows = [
    ['PoWeb and collection', poweb],
    ['PoHTTP', pohttp],
    ['CogRPC', cogrpc],
    ...fleet.processes.map(({ ops, directory }, index) => [
      `  process ${index + 1}: ${fleet.servicesOf(index)}`,
      `${ops}/ping`,
      directory,
    ]),
    ['Redis', cloud.redis.url],
    ['Firestore', cloud.firestore.host],
    ['Cloud Storage', cloud.gcs.url],
    ['Cloud KMS', cloud.kms.endpoint],
  ];
  console.log(`${table([['Node id', nodeId], ['Internet address', internetAddress], ...rows])}\n`);
  console.log(
    'The settings that its processes share, for commands and further processes (each with its own DATA_DIR):\n',
  );
  console.log(
    Object.entries(cloud.environment)
      .map(([name, value]) => `export ${name}='${value}'`)
      .join('\n'),
  );
  console.log(
    '\nTry: npm run relay-gateway -- ping http://127.0.0.1:8080 --pohttp http://127.0.0.1:8081 --cargo http://127.0.0.1:8082',
  );
  console.log('Ctrl-C ends all of it; nothing is kept.');
  await interrupted;
  console.log('\nEnding ...');
  await Promise.all(fleet.processes.map((each) => each.end('SIGTERM')));
} catch (error) {
  console.error((error as Error).message);
  process.exitCode = FAULT;
}
// What else listens for signals would keep the process.
process.exit();
