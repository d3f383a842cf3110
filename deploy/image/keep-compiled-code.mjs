/**
 * Run once while the image is built, as the user who will run it: starts the gateway in both of its shapes, so that the compiled code
 * of all that they load is kept. What is split is given a cloud that is away: it loads everything, and ends.
 */
import { spawn } from 'node:child_process';
import { once } from 'node:events';

const NOWHERE = 'http://127.0.0.1:9';

const SPLIT = {
  OBJECT_STORE: 'gcs',
  GCS_BUCKET: 'nowhere',
  STORAGE_EMULATOR_HOST: NOWHERE,
  RECORDS: 'firestore',
  GCP_PROJECT: 'nowhere',
  FIRESTORE_EMULATOR_HOST: '127.0.0.1:9',
  KEYS: 'gcp-kms',
  KMS_KEY_RING: 'projects/nowhere/locations/nowhere/keyRings/nowhere',
  KMS_ENDPOINT: NOWHERE,
  SIGNALS: 'redis',
  REDIS_URL: 'redis://127.0.0.1:9',
  START_PATIENCE: '1s',
};

/** @param ready text on standard error after which it is told to stop */
async function start(settings, ready) {
  const gateway = spawn('node', ['/app/bin/relay-gateway.js', 'serve'], {
    env: { ...process.env, BIND_HOST: '127.0.0.1', DATA_DIR: '/tmp/data', ...settings },
    stdio: ['ignore', 'inherit', 'pipe'],
  });
  gateway.stderr.on('data', (text) => {
    console.error(String(text));
    if (ready.test(text)) {
      // Compiled code is written a moment after.
      setTimeout(() => gateway.kill(), 500);
    }
  });
  const [code] = await once(gateway, 'exit');
  return code;
}

if ((await start({}, /is ready/)) !== 0 || (await start({ ...SPLIT, DATA_DIR: '/tmp/split' }, /is ready/)) !== 1) {
  throw new Error('The gateway did not start as it should');
}
