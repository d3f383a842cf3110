/**
 * A folder with cargo, one file each: what a courier carries. A file is there whole or not at all.
 */
import { createHash } from 'node:crypto';
import { mkdir, open, readdir, readFile, rename, stat } from 'node:fs/promises';
import path from 'node:path';

const EXTENSION = '.cargo';

/** Where cargo goes that a gateway has. */
const DELIVERED = 'delivered';

/** Hexadecimal digits of a cargo's SHA-256 that its file is named by. */
const NAME_DIGITS = 32;

export interface CargoFile {
  readonly name: string;
  /** Octets. */
  readonly size: number;
}

export class CargoFolder {
  private readonly directory: string;

  private constructor(directory: string) {
    this.directory = directory;
  }

  /** Opens the folder, and makes it where there is none. */
  static async create(directory: string): Promise<CargoFolder> {
    await mkdir(directory, { recursive: true });
    return new CargoFolder(directory);
  }

  /** @throws Error in one line, when there is no such folder */
  static async open(directory: string): Promise<CargoFolder> {
    if (!(await stat(directory).catch(() => undefined))?.isDirectory()) {
      throw new Error(`There is no folder ${directory}`);
    }
    return new CargoFolder(directory);
  }

  /** Keeps cargo; on the disk when it resolves. The same cargo is kept once. */
  async keep(cargo: Buffer): Promise<void> {
    const name = createHash('sha256').update(cargo).digest('hex').slice(0, NAME_DIGITS) + EXTENSION;
    await this.writeWhole(name, cargo);
  }

  /** All cargo, by the time when it was kept. */
  async list(): Promise<CargoFile[]> {
    const names = (await readdir(this.directory)).filter((name) => name.endsWith(EXTENSION));
    const files = await Promise.all(
      names.map(async (name) => {
        const { size, mtimeMs } = await stat(path.join(this.directory, name));
        return { name, size, mtimeMs };
      }),
    );
    return files.sort((one, other) => one.mtimeMs - other.mtimeMs || (one.name < other.name ? -1 : 1));
  }

  read(name: string): Promise<Buffer> {
    return readFile(path.join(this.directory, name));
  }

  /** Puts cargo aside that a gateway has. */
  async putAside(name: string): Promise<void> {
    await mkdir(path.join(this.directory, DELIVERED), { recursive: true });
    await rename(path.join(this.directory, name), path.join(this.directory, DELIVERED, name));
  }

  /** Notes that something is done, by a name for it. */
  note(name: string): Promise<void> {
    return this.writeWhole(name, Buffer.alloc(0));
  }

  async isNoted(name: string): Promise<boolean> {
    return (await stat(path.join(this.directory, name)).catch(() => undefined)) !== undefined;
  }

  private async writeWhole(name: string, octets: Buffer): Promise<void> {
    const target = path.join(this.directory, name);
    const temporary = `${target}.part`;
    const file = await open(temporary, 'w');
    try {
      await file.writeFile(octets);
      await file.datasync();
    } finally {
      await file.close();
    }
    await rename(temporary, target);
    const directory = await open(this.directory, 'r');
    try {
      await directory.sync();
    } finally {
      await directory.close();
    }
  }
}
