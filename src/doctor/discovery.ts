/**
 * From an Internet address to its doors, as clients find them: one authenticated SRV record each (protocol section 8).
 */
import { Dns } from './dns.ts';
import { DoctorFault } from './fault.ts';
import type { StepName, Steps } from './step.ts';

/** How far this machine's clock may be from the resolver's, in milliseconds: clients allow no cargo from the future. */
const MOST_CLOCK_DIFFERENCE = 60_000;

/** The doors, each with the service that clients look for. */
export const DOORS = {
  poweb: '_awala-gsc._tcp',
  pohttp: '_awala-pdc._tcp',
  cogrpc: '_awala-crc._tcp',
} as const;

export type Door = keyof typeof DOORS;

/** Where the DNS says that the doors are; undefined where it does not. */
export type FoundDoors = { -readonly [Name in Door]?: URL };

const SIGN =
  'Have the zone signed (DNSSEC), and put its DS record into the parent zone: most DNS providers and registrars do both at a click. Clients refuse what nobody vouches for';

/** Runs the steps that find the doors. What is found by a step that failed is found all the same. */
export async function discover(
  steps: Steps,
  { address, resolver, signal }: { address: string; resolver: URL; signal: AbortSignal },
): Promise<FoundDoors> {
  const dns = new Dns(resolver, signal);
  const found: FoundDoors = {};
  for (const [door, service] of Object.entries(DOORS) as [Door, string][]) {
    await steps.run(`dns-${door}` satisfies StepName, dns.isAway ? undefined : address, async () => {
      const name = `${service}.${address}`;
      const answer = await dns.ask(name, 'SRV');
      const services = answer.records.flatMap((record) => (record.type === 'SRV' ? [record.data] : []));
      const [first] = services;
      const target = first?.target.replace(/\.$/, '') ?? '';
      if (!first || target === '') {
        throw new DoctorFault(
          'SERVICE_MISSING',
          `The DNS has no SRV record ${name}`,
          `Publish one, such as: ${name}. 3600 IN SRV 0 0 443 ${address}.`,
        );
      }
      found[door] = new URL(`https://${target}:${first.port}/`);
      if (services.length > 1) {
        throw new DoctorFault(
          'SERVICE_AMBIGUOUS',
          `The DNS has ${services.length} SRV records ${name}`,
          'Publish exactly one: deployed clients take the first of an answer, whichever that is',
        );
      }
      if (!answer.isAuthenticated) {
        throw new DoctorFault('NAME_UNAUTHENTICATED', `Nobody vouches for the SRV record ${name}`, SIGN);
      }
      const addresses = await dns.addressesOf(target);
      if (addresses.length === 0) {
        throw new DoctorFault(
          'NAME_UNKNOWN',
          `${target}, which the SRV record ${name} names, has no address`,
          `Publish its A record, and AAAA where it has IPv6`,
        );
      }
      return { value: true, detail: `${target}:${first.port}, authenticated; ${addresses.join(', ')}` };
    });
  }
  await steps.run('machine-clock', dns.clockDifference, compareWithResolver);
  return found;
}

/** That of a gateway on this very machine is no witness. */
async function compareWithResolver(difference: number) {
  const relation = `this machine's clock is ${Math.round(Math.abs(difference) / 1000)} s ${difference < 0 ? 'behind' : 'ahead of'} the resolver's`;
  if (Math.abs(difference) > MOST_CLOCK_DIFFERENCE) {
    throw new DoctorFault('CLOCKS_DIFFER', relation, 'Have it set by NTP: timedatectl set-ntp true');
  }
  return { value: true, detail: "this machine's clock agrees with the resolver's" };
}
