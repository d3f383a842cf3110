/** The rule that imports point down, as data, and its checker. */
import { importsOf, type SourceFile } from './source-files.ts';

interface Room {
  /** What the paths of its files start with. The first room that fits a file is its room. */
  readonly path: string;
  /** Starts of paths that it may import, besides its own. */
  readonly mayImport: readonly string[];
  /** The only packages and built-in modules that it may import; any where absent. */
  readonly packages?: readonly string[];
}

/** From the bottom up. */
export const ROOMS: readonly Room[] = [
  { path: 'src/awala/', mayImport: [], packages: ['node:crypto', 'node:util', 'asn1js', 'pkijs'] },
  { path: 'src/gateway/', mayImport: ['src/awala/'], packages: ['node:crypto', 'node:events'] },
  { path: 'src/backends/local/', mayImport: ['src/awala/', 'src/gateway/ports.ts', 'src/gateway/time.ts'] },
  { path: 'src/backends/gcp/', mayImport: ['src/awala/', 'src/gateway/ports.ts', 'src/gateway/time.ts'] },
  { path: 'src/backends/redis/', mayImport: ['src/gateway/ports.ts'] },
  { path: 'src/services/', mayImport: ['src/awala/', 'src/gateway/'] },
  { path: 'src/dns/', mayImport: [] },
  { path: 'src/workers/', mayImport: ['src/awala/', 'src/gateway/', 'src/dns/'] },
  { path: 'src/telemetry/', mayImport: ['src/gateway/'] },
  { path: 'src/courier/', mayImport: ['src/services/cogrpc/cargo-relay.ts', 'src/services/cogrpc/messages.ts'] },
  { path: 'src/doctor/', mayImport: ['src/awala/', 'src/courier/', 'src/dns/'] },
  { path: 'src/backup/', mayImport: ['src/gateway/'] },
  { path: 'src/migration/', mayImport: ['src/awala/', 'src/gateway/'] },
  { path: 'src/certificate/', mayImport: [] },
  { path: 'src/quickstart/', mayImport: [] },
  {
    path: 'src/provision/',
    mayImport: [
      'src/awala/',
      'src/gateway/ports.ts',
      'src/backends/gcp/channel.ts',
      'src/backends/gcp/kms/key-labels.ts',
      'src/config/values.ts',
    ],
  },
  { path: 'src/config/', mayImport: [] },
  { path: 'src/config.ts', mayImport: ['src/config/'] },
  { path: 'src/log.ts', mayImport: [] },
  { path: 'src/machine.ts', mayImport: ['src/awala/session-key.ts', 'src/gateway/ports.ts'] },
  {
    path: 'src/compose',
    mayImport: [
      'src/awala/',
      'src/gateway/',
      'src/backends/',
      'src/backup/',
      'src/migration/',
      'src/services/',
      'src/workers/',
      'src/telemetry/',
      'src/config.ts',
      'src/log.ts',
      'src/machine.ts',
    ],
  },
  { path: 'src/cli/', mayImport: ['src/'] },
];

/** Packages that measure the gateway and never run in it. */
const PEERS = '@relaycorp/';

/** Every import that points up or sideways, as lines for people. */
export function importFaults(files: readonly SourceFile[]): string[] {
  return files.flatMap((file) => {
    const room = ROOMS.find((candidate) => file.path.startsWith(candidate.path));
    if (!room) {
      return [`${file.path} is in no room that the house knows`];
    }
    return importsOf(file)
      .filter((target) => !isAllowed(room, target))
      .map((target) => `${file.path} imports ${target}`);
  });
}

function isAllowed(room: Room, target: string): boolean {
  if (target.startsWith('src/')) {
    return [room.path, ...room.mayImport].some((start) => target.startsWith(start));
  }
  if (target.startsWith('test/') || target.startsWith('bench/') || target.startsWith(PEERS)) {
    return false;
  }
  return room.packages?.includes(target) ?? true;
}
