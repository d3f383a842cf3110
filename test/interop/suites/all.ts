/** What holds wherever a gateway keeps its things, and in however many processes it runs. */
import type { Deployment } from '../../support/deployment.ts';
import { cargoCollection } from './cargo-collection.ts';
import { cargoDelivery } from './cargo-delivery.ts';
import { durability } from './durability.ts';
import { expiry } from './expiry.ts';
import { internetPing } from './internet-ping.ts';
import { poHttp } from './pohttp.ts';
import { privateToPrivate } from './private-to-private.ts';
import { registration } from './registration.ts';
import { tracing } from './tracing.ts';

/** Registers all suites. */
export function allSuites(deployment: Deployment): void {
  registration(deployment);
  privateToPrivate(deployment);
  poHttp(deployment);
  internetPing(deployment);
  cargoDelivery(deployment);
  cargoCollection(deployment);
  durability(deployment);
  expiry(deployment);
  tracing(deployment);
}
