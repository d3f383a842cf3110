/**
 * Tells systemd how the gateway is (sd_notify(3)): ready, alive, stopping.
 *
 * Node has no datagram sockets in the Unix domain, so systemd's own `systemd-notify` sends. A small shell, started once,
 * calls it for each line: to start a process from a large one stops its event loop for tens of milliseconds
 * (docs/decisions/0024-one-machine.md).
 */
import { spawn } from 'node:child_process';
import type { Environment } from '../config.ts';
import type { Logger } from '../log.ts';

/** A line is an assignment of sd_notify(3), such as `READY=1`. What systemd does not take is not tried again. */
const SENDER = 'while IFS= read -r state; do systemd-notify "$state"; done';

/** How often within systemd's patience it is told that all is well. */
const TIMES_WITHIN_PATIENCE = 3;

export interface ServiceManager extends Disposable {
  /** Tells one assignment of sd_notify(3), such as `READY=1`; nothing where no systemd waits for it. */
  tell(state: string): void;

  /**
   * Tells that the gateway lives as long as `check` resolves; nothing where the unit has no `WatchdogSec=`. A `check`
   * that is silent or rejects leaves systemd without word, and when its patience ends, it starts the gateway anew.
   */
  watch(check: () => Promise<void>): Disposable;
}

const NOBODY: ServiceManager = {
  tell() {},
  watch: () => ({ [Symbol.dispose]() {} }),
  [Symbol.dispose]() {},
};

/** Finds the systemd that runs this process, if one does and its unit has `Type=notify`. */
export function findServiceManager(environment: Environment, logger: Logger): ServiceManager {
  const { NOTIFY_SOCKET: socket, PATH: path } = environment;
  if (!socket) {
    return NOBODY;
  }
  const sender = spawn('/bin/sh', ['-c', SENDER], {
    env: { NOTIFY_SOCKET: socket, PATH: path },
    stdio: ['pipe', 'ignore', 'inherit'],
  });
  const failed = (err: Error) => logger.warn({ err }, 'systemd cannot be told how the gateway is');
  sender.on('error', failed);
  sender.stdin.on('error', failed);
  sender.unref();
  const tell = (state: string) => {
    if (sender.stdin.writable) {
      sender.stdin.write(`${state.replaceAll('\n', ' ')}\n`);
    }
  };
  return {
    tell,
    watch(check) {
      const patience = watchdogPatience(environment);
      return patience === undefined ? NOBODY : keepTelling(check, patience / TIMES_WITHIN_PATIENCE, tell, logger);
    },
    [Symbol.dispose]: () => sender.stdin.end(),
  };
}

/** Milliseconds; undefined where this process is not watched. */
function watchdogPatience({ WATCHDOG_USEC: time, WATCHDOG_PID: pid }: Environment): number | undefined {
  const isOther = pid !== undefined && pid !== `${process.pid}`;
  return !isOther && /^[1-9]\d{0,15}$/.test(time ?? '') ? Number(time) / 1000 : undefined;
}

function keepTelling(
  check: () => Promise<void>,
  interval: number,
  tell: (state: string) => void,
  logger: Logger,
): Disposable {
  let isChecking = false;
  const look = async () => {
    if (isChecking) {
      logger.warn('The stores are silent: systemd will start the gateway anew');
      return;
    }
    isChecking = true;
    try {
      await check();
      tell('WATCHDOG=1');
    } catch (err) {
      logger.warn({ err }, 'The stores do not work: systemd will start the gateway anew');
    } finally {
      isChecking = false;
    }
  };
  const timer = setInterval(() => void look(), interval);
  void look();
  return { [Symbol.dispose]: () => clearInterval(timer) };
}
