/** The whole program with RECORDS=firestore, by official clients; Firestore goes, hangs, and comes back. */
import assert from 'node:assert/strict';
import { after, before, suite, test } from 'node:test';
import { needsFirestore, newProject, startFirestore } from '../../../support/firestore-emulator.ts';
import { spawnGateway } from '../../../support/gateway.ts';
import { GatewaySetting } from '../../../support/gateway-setting.ts';
import { type GrpcProxy, startGrpcProxy } from '../../../support/grpc-proxy.ts';
import { runRelayGateway } from '../../../support/relay-gateway.ts';
import { absenceContract, type BackingService } from '../../absence.contract.ts';

suite('A gateway with RECORDS=firestore', needsFirestore(), () => {
  let stack: AsyncDisposableStack;
  let setting: GatewaySetting;
  let service: BackingService;

  before(async () => {
    stack = new AsyncDisposableStack();
    const firestore = stack.use(await startFirestore());
    const proxy = stack.use(await startGrpcProxy(firestore.host));
    service = behind(proxy);
    const settings = { RECORDS: 'firestore', GCP_PROJECT: newProject(), FIRESTORE_EMULATOR_HOST: proxy.host };
    setting = stack.use(await GatewaySetting.open(settings));
  });
  after(() => stack.disposeAsync());

  absenceContract('Firestore', () => ({ setting, service }));

  test('tells in one line that its project is missing', async () => {
    const { code, stderr } = await runRelayGateway(['serve'], { RECORDS: 'firestore' });
    assert.equal(code, 2);
    assert.match(stderr, /GCP_PROJECT must be set where RECORDS is firestore\n$/);
  });
});

test('A gateway that finds no credentials for Firestore ends with one line', async () => {
  const environment = {
    RECORDS: 'firestore',
    GCP_PROJECT: 'some-project',
    GOOGLE_APPLICATION_CREDENTIALS: '/no/such/file',
  };
  await assert.rejects(spawnGateway({ environment }), ({ message }: Error) => {
    assert.match(
      message,
      /ended with 1 before it was ready:\nrelay-gateway: Firestore database .* cannot be used: .*\/no\/such\/file.*\n$/,
    );
    return true;
  });
});

function behind(proxy: GrpcProxy): BackingService {
  let isThere = true;
  return {
    check: 'firestore',
    isNeededToRegister: true,
    goAway() {
      isThere = false;
      return proxy.goAway();
    },
    async fallSilent() {
      proxy.decide = () => 'hang';
    },
    async comeBack() {
      proxy.decide = () => 'pass';
      if (!isThere) {
        isThere = true;
        await proxy.comeBack();
      }
    },
  };
}
