/** The gateway without the system calls that its unit forbids: strace refuses them as the kernel would. */
import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { suite, test } from 'node:test';
import { promisify } from 'node:util';
import { unitText } from '../../src/quickstart/units.ts';
import { spawnGateway } from '../support/gateway.ts';
import { needsTool } from '../support/needs-tool.ts';
import { runRelayGateway } from '../support/relay-gateway.ts';

const run = promisify(execFile);

const NEEDS = {
  ...needsTool('systemd-analyze', 'apt-get install systemd'),
  ...needsTool('strace', 'apt-get install strace'),
};

suite('In the sandbox of its unit', () => {
  test('the gateway starts, serves, is well, and stops', NEEDS, async () => {
    const refused = await refusedCalls();
    // What the gateway could not do without: that the list is one.
    assert.ok(refused.includes('mount') && refused.includes('chown') && !refused.includes('openat'));
    const calls = refused.map((name) => `?${name}`).join();

    await using gateway = await spawnGateway({
      under: ['strace', '-f', '--seccomp-bpf', '-qqq', '-o', '/dev/null', '-e', `inject=${calls}:error=EPERM`],
    });
    const doors = [gateway.poweb, '--pohttp', gateway.pohttp, '--cargo', gateway.cogrpc];
    const { code, stdout } = await runRelayGateway(['ping', ...doors]);
    assert.equal(code, 0, stdout);
    assert.equal((await gateway.end('SIGTERM')).code, 0);
  });

  test('it would not even start without calls that it needs', NEEDS, async () => {
    const strace = ['strace', '-f', '--seccomp-bpf', '-qqq', '-o', '/dev/null', '-e', 'inject=?bind:error=EPERM'];
    await assert.rejects(spawnGateway({ under: strace }), /Gateway ended with 1 before it was ready/);
  });
});

/** All calls that systemd knows by a group, without those that the unit's filter allows. */
async function refusedCalls(): Promise<string[]> {
  const { stdout } = await run('systemd-analyze', ['--no-pager', 'syscall-filter']);
  const groups = new Map<string, string[]>();
  let members: string[] = [];
  for (const line of stdout.split('\n')) {
    if (line.startsWith('@')) {
      members = [];
      groups.set(line.trim(), members);
    } else if (/^ {4}[@\w]/.test(line)) {
      members.push(line.trim());
    }
  }
  const callsOf = (group: string): string[] =>
    (groups.get(group) ?? []).flatMap((member) => (member.startsWith('@') ? callsOf(member) : [member]));
  const allowed = new Set<string>();
  const unit = unitText('relay-gateway.service', { node: '', program: '', gracePeriod: 0 });
  for (const [, isDenial, names = ''] of unit.matchAll(/^SystemCallFilter=(~?)(.*)$/gm)) {
    for (const call of names.split(' ').flatMap(callsOf)) {
      isDenial ? allowed.delete(call) : allowed.add(call);
    }
  }
  // Always permitted, whatever a filter says.
  for (const call of callsOf('@default')) {
    allowed.add(call);
  }
  const known = [...groups.keys()].filter((group) => group !== '@known').flatMap(callsOf);
  return [...new Set(known)].filter((call) => !allowed.has(call));
}
