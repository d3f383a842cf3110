/** A process that ends with the one that started it, also when that one is killed. */
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';

/** Becomes the program, and has it killed once nobody holds the other end of its input. */
const UNTIL_INPUT_ENDS = 'exec 3<&0; { cat <&3; kill -9 $$; } >/dev/null 2>&1 & exec "$@"';

export interface BoundProcess extends AsyncDisposable {
  readonly child: ChildProcess;
}

/** Starts it, without output; disposal kills it, and resolves once it has ended. */
export function startBoundProcess(program: string, parameters: readonly string[]): BoundProcess {
  const child = spawn('sh', ['-c', UNTIL_INPUT_ENDS, 'sh', program, ...parameters], {
    stdio: ['pipe', 'ignore', 'ignore'],
  });
  const exited = once(child, 'exit');
  return {
    child,
    async [Symbol.asyncDispose]() {
      child.kill('SIGKILL');
      await exited;
      child.stdin?.destroy();
    },
  };
}
