/** What a whole gateway does while what it keeps things in is away, and is spared by that: whoever uses it notices little. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { GatewaySetting } from '../support/gateway-setting.ts';

/** A service that a gateway uses, and can do without for a while. */
export interface BackingService {
  /** As the check of `/ping` has it. */
  readonly check: string;
  /** Whether private gateways can register while it is away. */
  readonly isNeededToRegister: boolean;
  /** Breaks its connections, and takes none. */
  goAway(): Promise<void>;
  /** Takes what comes, and answers nothing. */
  fallSilent(): Promise<void>;
  /** Is there again after either. */
  comeBack(): Promise<void>;
}

/** @param of what is there once the suite has begun */
export function absenceContract(name: string, of: () => { setting: GatewaySetting; service: BackingService }): void {
  test('delivers live, by courier and to the Internet, and is well', async () => {
    const { setting, service } = of();
    await setting.collectionOf(await setting.deliver());
    await setting.collectionOf(await setting.deliverByCourier());
    await setting.arrivalOf(await setting.deliverToInternet());
    assert.deepEqual(await setting.ping(service.check), { status: 200, ok: true });
  });

  for (const trouble of ['is away', 'says nothing'] as const) {
    test(`while ${name} ${trouble}, takes parcels in and delivers live; the rest follows when it is back`, async () => {
      const { setting, service } = of();
      await (trouble === 'is away' ? service.goAway() : service.fallSilent());
      let outbound: Buffer;
      let carried: Buffer;
      try {
        await setting.collectionOf(await setting.deliver());
        outbound = await setting.deliverToInternet();
        carried = await setting.deliverByCourier();
        if (service.isNeededToRegister) {
          await assert.rejects(setting.register());
        } else {
          await setting.register();
        }
        assert.deepEqual(await setting.ping(service.check), { status: 503, ok: false });
      } finally {
        await service.comeBack();
      }
      await setting.arrivalOf(outbound);
      await setting.collectionOf(carried);
      await setting.recovered();
      await setting.register();
      await setting.collectionOf(await setting.deliver());
      assert.equal(setting.gateway.process.exitCode, null);
    });
  }
}
