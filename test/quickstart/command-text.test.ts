/** The command that quickstart puts on the PATH: as whom it runs the program, and with what. */
import assert from 'node:assert/strict';
import { execFileSync, spawnSync } from 'node:child_process';
import { chmodSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { after, before, suite, test } from 'node:test';
import { commandText } from '../../src/quickstart/command-text.ts';
import { placeFile } from '../../src/quickstart/managed-file.ts';
import { temporaryDirectory } from '../support/gateway.ts';

/** Of every Unix, with a group of the same name. */
const USER = 'daemon';

const isRoot = process.getuid?.() === 0;

/** Says what it was given; what it runs on is a real Node.js, and who it is the kernel says. */
const PROGRAM = `console.log(JSON.stringify({
  user: process.getuid(), groups: [...new Set([process.getgid(), ...process.getgroups()])], mask: process.umask(),
  folder: process.cwd(), parameters: process.argv.slice(2), address: process.env.INTERNET_ADDRESS,
  level: process.env.LOG_LEVEL, input: require('node:fs').readFileSync(0, 'utf8'),
}))`;

interface Said {
  readonly user: number;
  readonly groups: readonly number[];
  readonly mask: number;
  readonly folder: string;
  readonly parameters: readonly string[];
  readonly address?: string;
  readonly level?: string;
  readonly input: string;
}

suite('The command', () => {
  let folder: string;
  let command: string;
  let wanted: Parameters<typeof placeFile>[0];

  before(async () => {
    folder = temporaryDirectory();
    chmodSync(folder, 0o755);
    const file = (name: string) => path.join(folder, name);
    command = file('relay-gateway');
    writeFileSync(file('program.cjs'), PROGRAM);
    writeFileSync(file('environment'), 'INTERNET_ADDRESS=gw.example.org\nLOG_LEVEL=warn\n', { mode: 0o600 });
    const options = { node: process.execPath, program: file('program.cjs'), settings: file('environment'), user: USER };
    wanted = { path: command, text: commandText(options), mode: 0o755 };
    assert.equal((await placeFile(wanted, { isDry: false })).outcome, 'written');
  });

  after(() => rmSync(folder, { recursive: true, force: true }));

  const run = (parameters: readonly string[], environment = {}, program = command) =>
    spawnSync(program, parameters, { cwd: '/tmp', env: { PATH: '/usr/bin:/bin', ...environment }, input: 'a key' });
  const ask = (parameters: readonly string[], environment = {}, program = command): Said => {
    const { stdout, stderr, status } = run(parameters, environment, program);
    assert.equal(status, 0, `${stderr}`);
    return JSON.parse(`${stdout}`);
  };

  test('gives root the settings, and the user of the gateway, with what it was called with', () => {
    if (!isRoot) {
      const { status, stderr } = run(['identity']);
      assert.equal(status, 2);
      assert.match(`${stderr}`, /sudo relay-gateway identity/);
      return;
    }
    const id = (...options: string[]) => Number(execFileSync('id', [...options, USER], { encoding: 'utf8' }));
    // Root's own groups, which must not stay.
    const asRoot = ['--groups', '0,4', command];
    const parameters = ['restore', '--from', 'a file; with "quotes"', '--recovery-key', '-'];
    assert.deepEqual(ask([...asRoot, ...parameters], {}, 'setpriv'), {
      ...{ user: id('-u'), groups: [id('-g')], mask: 0o077, folder: '/tmp', parameters },
      ...{ address: 'gw.example.org', level: 'warn', input: 'a key' },
    });
    assert.equal(ask(['identity'], { LOG_LEVEL: 'debug' }).level, 'debug');
    // It gives its files to the owner of their folder, and wants a port that is root's.
    const { user, address } = ask(['certificate', 'renew']);
    assert.deepEqual([user, address], [0, 'gw.example.org']);
  });

  test('runs what needs no gateway as whoever called it', () => {
    for (const parameters of [
      ['quickstart', '--address', 'gw.example.org'],
      ['recovery-key', 'new', '--out', 'recovery.key'],
      ['ping', 'https://gw.example.org'],
      ['config', '--edit'],
      ['backup', '--help'],
      ['--version'],
      [],
    ]) {
      const { user, address, parameters: given } = ask(parameters);
      assert.deepEqual([user, address, given], [process.getuid?.(), undefined, parameters]);
    }
  });

  test('is written anew as long as nobody has edited it, and never over a file of others', async () => {
    const text = readFileSync(command, 'utf8');
    assert.match(text, /^#!\/bin\/sh\n# Written by relay-gateway quickstart\. /);
    const place = async (isDry = false) =>
      (await placeFile({ ...wanted, text: wanted.text.replace('umask 077', 'umask 027') }, { isDry })).outcome;
    assert.equal((await placeFile(wanted, { isDry: false })).outcome, 'unchanged');
    assert.equal(await place(true), 'replaced');
    for (const edited of [
      text.replace('umask 077', 'umask 022'),
      text.replace('#!/bin/sh', '#!/bin/dash'),
      '#!/usr/bin/env node\n',
    ]) {
      writeFileSync(command, edited);
      assert.equal(await place(), 'kept');
      assert.equal(readFileSync(command, 'utf8'), edited);
    }
    writeFileSync(command, text);
    assert.equal(await place(), 'replaced');
    assert.equal((await placeFile(wanted, { isDry: false })).outcome, 'replaced');
  });
});
