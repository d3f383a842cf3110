/** The units, as systemd itself judges them. */
import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { suite, type TestContext, test } from 'node:test';
import { promisify } from 'node:util';
import { UNITS, type Unit, unitText } from '../../src/quickstart/units.ts';
import { temporaryDirectory } from '../support/gateway.ts';
import { needsTool } from '../support/needs-tool.ts';

const run = promisify(execFile);

const NEEDS = needsTool('systemd-analyze', 'apt-get install systemd');

/** Of `systemd-analyze security`, in tenths: 0 is a service that may do nothing, 100 one that may do all. */
const MOST_EXPOSURE = 25;

const OPTIONS = { node: '/usr/bin/env', program: '/opt/relay-gateway/bin/relay-gateway.js', gracePeriod: 25_000 };

suite('The units', () => {
  test('have what they name, and nothing that systemd does not know', NEEDS, async (t) => {
    const folder = folderWith(t, (text) => text);
    const { stdout, stderr } = await run('systemd-analyze', ['verify', '--man=no', ...UNITS], inFolder(folder));
    assert.equal(complaintsOf(folder, stdout + stderr), '');
  });

  test('would be found out by that check', NEEDS, async (t) => {
    const folder = folderWith(t, (text) => text.replace('ProtectHome=', 'ProtectHouse='));
    const { stdout, stderr } = await run('systemd-analyze', ['verify', '--man=no', ...UNITS], inFolder(folder));
    assert.match(complaintsOf(folder, stdout + stderr), /ProtectHouse/);
  });

  test('give little away, as systemd measures it', NEEDS, async (t) => {
    const folder = folderWith(t, (text) => text);
    for (const unit of ['relay-gateway.service', 'relay-gateway-certificate.service']) {
      const parameters = ['security', '--offline=true', `--threshold=${MOST_EXPOSURE}`, path.join(folder, unit)];
      // Exits with 1 when it is more exposed.
      const { stdout } = await run('systemd-analyze', parameters, inFolder(folder));
      assert.match(stdout, /Overall exposure level for \S+: \d/);
    }
  });

  test('give the gateway longer to stop than it takes by itself', () => {
    const unit = unitText('relay-gateway.service', { ...OPTIONS, gracePeriod: 90_500 });
    assert.match(unit, /^TimeoutStopSec=106$/m);
  });
});

/** A folder with the units as they are, but for an edit. */
function folderWith(t: TestContext, edit: (text: string) => string): string {
  const directory = temporaryDirectory();
  t.after(() => rmSync(directory, { recursive: true, force: true }));
  const folder = path.join(directory, 'units');
  mkdirSync(folder);
  for (const unit of UNITS as readonly Unit[]) {
    writeFileSync(path.join(folder, unit), edit(unitText(unit, { ...OPTIONS, program: import.meta.filename })));
  }
  assert.match(readFileSync(path.join(folder, 'relay-gateway.service'), 'utf8'), /^Type=notify$/m);
  return folder;
}

function inFolder(folder: string) {
  return {
    cwd: folder,
    // Ours, and those of the system that they name.
    env: { PATH: process.env['PATH'], SYSTEMD_UNIT_PATH: `${folder}:`, SYSTEMD_COLORS: '0', SYSTEMD_PAGER: '' },
    timeout: 60_000,
  };
}

/** What is said of our units: those of the machine may have faults of their own. */
function complaintsOf(folder: string, said: string): string {
  return said
    .split('\n')
    .filter((line) => line.includes(folder) || UNITS.some((unit) => line.startsWith(`${unit}:`)))
    .join('\n');
}
