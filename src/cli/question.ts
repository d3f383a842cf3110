/** A question to whoever runs a command. */
import { once } from 'node:events';
import { createInterface } from 'node:readline';

/** @returns the line that was answered, or nothing where nobody is there */
export async function askFor(question: string): Promise<string> {
  process.stderr.write(question);
  const lines = createInterface({ input: process.stdin, terminal: false });
  const answer = await Promise.race([
    once(lines, 'line').then(([line]) => String(line)),
    once(lines, 'close').then(() => ''),
  ]);
  lines.close();
  return answer.trim();
}
