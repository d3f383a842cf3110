/**
 * Numbered files of lines, written in turn; when they take too much room, the oldest goes.
 */

import { readdirSync, statSync } from 'node:fs';
import { type FileHandle, mkdir, open, rm, statfs } from 'node:fs/promises';
import { join } from 'node:path';
import type { StoreLog } from './store-files.ts';

/** Into how many files the room is divided: so much of it is forgotten at a time. */
const FILES = 8;
/** Lines that wait in memory; more are lost, since the disk does not keep up. */
const MOST_WAITING_OCTETS = 4 * 1024 * 1024;
/** Room on the volume that is left to the stores, which need it to empty a full disk. */
const LEFT_FREE_OCTETS = 64 * 1024 * 1024;
const LEFT_FREE_SHARE = 4;
/** How much is read at a time. */
const CHUNK_OCTETS = 1024 * 1024;
const NEWLINE = 10;

interface JournalFile {
  readonly path: string;
  readonly number: number;
  octets: number;
}

export class JournalFiles {
  private readonly folder: string;
  private readonly name: string;
  private readonly maxOctets: number;
  private readonly log: StoreLog;
  /** Oldest first; the last one is written to. */
  private readonly files: JournalFile[];
  private waiting: string[] = [];
  private waitingOctets = 0;
  private current: FileHandle | undefined;
  private writing: Promise<void> = Promise.resolve();
  private hasFailed = false;

  constructor(parts: { folder: string; name: string; maxOctets: number; log: StoreLog }) {
    this.folder = parts.folder;
    this.name = parts.name;
    this.maxOctets = parts.maxOctets;
    this.log = parts.log;
    this.files = filesIn(parts.folder, parts.name);
  }

  /** Has a line written soon, its end included. */
  add(line: string): void {
    if (this.waitingOctets + line.length <= MOST_WAITING_OCTETS) {
      this.waiting.push(line);
      this.waitingOctets += line.length;
    }
  }

  /**
   * Writes what waits now, in one piece; what cannot be written is lost. What comes meanwhile waits for the next call: a
   * write for every few lines would cost more than all else about them. Never rejects.
   */
  write(): Promise<void> {
    this.writing = this.writing.then(() => this.writeWaiting());
    return this.writing;
  }

  /** Lines that contain `text`, oldest first, without their ends. */
  async *linesWith(text: string): AsyncGenerator<string> {
    const needle = Buffer.from(text);
    for (const { path } of [...this.files]) {
      yield* linesOf(path, needle);
    }
  }

  async close(): Promise<void> {
    await this.writing;
    await this.current?.close();
    this.current = undefined;
  }

  private async writeWaiting(): Promise<void> {
    if (this.waiting.length === 0) {
      return;
    }
    const octets = Buffer.from(this.waiting.join(''));
    this.waiting = [];
    this.waitingOctets = 0;
    try {
      await this.append(octets);
      this.hasFailed = false;
    } catch (error) {
      await this.current?.close().catch(() => undefined);
      this.current = undefined;
      if (!this.hasFailed) {
        this.hasFailed = true;
        this.log.warn({ folder: this.folder, reason: (error as Error).message }, 'The journal cannot be written');
      }
    }
  }

  private async append(octets: Buffer): Promise<void> {
    const { file, handle } = await this.fileFor(octets.length);
    await this.requireRoom(octets.length);
    await handle.appendFile(octets);
    file.octets += octets.length;
  }

  private async fileFor(octets: number): Promise<{ file: JournalFile; handle: FileHandle }> {
    let file = this.files.at(-1);
    if (!file || file.octets + octets > this.maxOctets / FILES) {
      await this.current?.close();
      this.current = undefined;
      const number = (file?.number ?? 0) + 1;
      file = { path: join(this.folder, `${this.name}-${number}.ndjson`), number, octets: 0 };
      this.files.push(file);
      await this.forgetOldest();
    }
    if (!this.current) {
      await mkdir(this.folder, { recursive: true, mode: 0o700 });
      this.current = await open(file.path, 'a', 0o600);
      if (file.octets > 0) {
        // A crash may have cut the last line short.
        await this.current.appendFile('\n');
        file.octets++;
      }
    }
    return { file, handle: this.current };
  }

  /** Makes room for a whole new file. */
  private async forgetOldest(): Promise<void> {
    const room = this.maxOctets - this.maxOctets / FILES;
    while (this.files.length > 1 && this.files.reduce((sum, { octets }) => sum + octets, 0) > room) {
      await rm((this.files.shift() as JournalFile).path, { force: true });
    }
  }

  private async requireRoom(octets: number): Promise<void> {
    const { bavail, bsize, blocks } = await statfs(this.folder);
    if (bavail * bsize - octets < Math.min(LEFT_FREE_OCTETS, (blocks * bsize) / LEFT_FREE_SHARE)) {
      throw new Error('The volume is nearly full');
    }
  }
}

/** What earlier processes wrote, oldest first. */
function filesIn(folder: string, name: string): JournalFile[] {
  const pattern = new RegExp(`^${name}-(\\d{1,15})\\.ndjson$`);
  let names: string[];
  try {
    names = readdirSync(folder);
  } catch {
    // There is no journal yet.
    return [];
  }
  return names
    .flatMap((file) => {
      const number = Number(pattern.exec(file)?.[1]);
      const path = join(folder, file);
      return number > 0 ? [{ path, number, octets: statSync(path, { throwIfNoEntry: false })?.size ?? 0 }] : [];
    })
    .sort((one, other) => one.number - other.number);
}

async function* linesOf(path: string, needle: Buffer): AsyncGenerator<string> {
  const handle = await open(path).catch(() => undefined);
  if (!handle) {
    // It was thrown away meanwhile.
    return;
  }
  try {
    let rest = Buffer.alloc(0);
    for (;;) {
      const chunk = Buffer.allocUnsafe(CHUNK_OCTETS);
      const { bytesRead } = await handle.read(chunk, 0, CHUNK_OCTETS);
      const text = Buffer.concat([rest, chunk.subarray(0, bytesRead)]);
      const end = bytesRead === 0 ? text.length : text.lastIndexOf(NEWLINE) + 1;
      yield* linesWithin(text.subarray(0, end), needle);
      if (bytesRead === 0) {
        return;
      }
      // Lines are short: one that is longer than a chunk is damage.
      rest = text.length - end > CHUNK_OCTETS ? Buffer.alloc(0) : text.subarray(end);
    }
  } finally {
    await handle.close();
  }
}

function* linesWithin(text: Buffer, needle: Buffer): Generator<string> {
  for (let at = text.indexOf(needle); at >= 0; ) {
    const start = text.lastIndexOf(NEWLINE, at) + 1;
    const newline = text.indexOf(NEWLINE, at);
    const end = newline < 0 ? text.length : newline;
    yield text.toString('utf8', start, end);
    at = text.indexOf(needle, end);
  }
}
