/** A real datagram socket that stands where systemd listens (sd_notify(3)). Perl is on every Debian machine. */
import { spawn } from 'node:child_process';
import { EventEmitter, once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { createInterface } from 'node:readline';

/** Prints a line for each datagram; descriptors that come with one are closed by the kernel, since nobody takes them. */
const RECEIVER = `
  use IO::Socket::UNIX;
  $| = 1;
  my $socket = IO::Socket::UNIX->new(Type => SOCK_DGRAM, Local => $ARGV[0]) or die "$@";
  print "listening\\n";
  while (defined $socket->recv(my $datagram, 4096)) { $datagram =~ s/\\n/;/g; print "$datagram\\n"; }
`;

export interface NotifySocket extends Disposable {
  /** For `NOTIFY_SOCKET`. */
  readonly path: string;
  /** All that came, in order. */
  readonly states: readonly string[];
  /** Resolves with the next one that matches, from now on. */
  next(pattern: RegExp): Promise<string>;
}

export async function openNotifySocket(): Promise<NotifySocket> {
  const directory = mkdtempSync(path.join(tmpdir(), 'relay-gateway-notify-'));
  const socket = path.join(directory, 'notify');
  const receiver = spawn('perl', ['-e', RECEIVER, socket], { stdio: ['ignore', 'pipe', 'inherit'] });
  const kill = () => receiver.kill('SIGKILL');
  process.once('exit', kill);
  const lines = createInterface(receiver.stdout);
  await once(lines, 'line');
  const states: string[] = [];
  const arrivals = new EventEmitter();
  lines.on('line', (state) => {
    states.push(state);
    arrivals.emit('state', state);
  });
  return {
    path: socket,
    states,
    next: (pattern) =>
      new Promise((resolve) => {
        const look = (state: string) => {
          if (pattern.test(state)) {
            arrivals.off('state', look);
            resolve(state);
          }
        };
        arrivals.on('state', look);
      }),
    [Symbol.dispose]() {
      process.off('exit', kill);
      kill();
      rmSync(directory, { recursive: true, force: true });
    },
  };
}
