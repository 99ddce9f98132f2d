// A file under a passphrase: a header that names the version, a salt, a proof of the key, then chunks of AES-256-GCM in which order, end and header are
// authenticated, so that nothing can be cut, swapped or added. It is written and read in pieces: its size costs no memory.
// The parameters belong to the version; none is read from the file.

import { createCipheriv, createDecipheriv, randomBytes, scrypt } from 'node:crypto'
import { closeSync, fsyncSync, openSync, readSync, rmSync, writeSync } from 'node:fs'
import { promisify } from 'node:util'
import { MeshError } from '../../mesh/errors.js'

/** Version 1: 128 MiB and about half a second on one core; the file leaves this machine. */
const SCRYPT = { N: 2 ** 17, r: 8, p: 1, maxmem: 256 * 1024 * 1024 } as const
const HEADER = Buffer.from('troth backup v1\n')
const HEADER_OF_ANY_VERSION = /^troth backup v\d+\n/
const SALT_BYTES = 32
const CHUNK_BYTES = 64 * 1024
const TAG_BYTES = 16
const KEY_BYTES = 32

const derive = promisify<string, Buffer, number, object, Buffer>(scrypt)

export interface Sealer {
  write(data: Uint8Array): void
  /** Writes the end; without it the file cannot be opened. */
  finish(): void
}

/**
 * Makes the file, 0600, and hands `fill` the writer. What fails leaves no file.
 * @throws MeshError BACKUP_EXISTS | STATE_UNREADABLE
 */
export async function sealFile(
  file: string,
  passphrase: string,
  fill: (sealer: Sealer) => Promise<void>,
): Promise<void> {
  const salt = randomBytes(SALT_BYTES)
  const key = await derive(passphrase, salt, KEY_BYTES, SCRYPT)
  const descriptor = create(file)
  try {
    writeAll(descriptor, Buffer.concat([HEADER, salt, proofOf(key)]))
    const sealer = openSealer(key, (bytes) => writeAll(descriptor, bytes))
    await fill(sealer)
    sealer.finish()
    fsyncSync(descriptor)
    closeSync(descriptor)
  } catch (error) {
    closeSync(descriptor)
    rmSync(file, { force: true })
    throw error
  }
}

function create(file: string): number {
  try {
    return openSync(file, 'wx', 0o600)
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'EEXIST')
      throw new MeshError('BACKUP_EXISTS', `${file} exists already`)
    throw new MeshError('STATE_UNREADABLE', `${file} cannot be written`, {
      cause: error,
      hint: 'name a place where this user may write',
    })
  }
}

/** @param write takes the bytes that go into the file after header, salt and proof */
export function openSealer(key: Buffer, write: (bytes: Buffer) => void): Sealer {
  let pending = Buffer.alloc(0)
  let count = 0
  const seal = (chunk: Buffer, place: 'middle' | 'end'): void => {
    const cipher = createCipheriv('aes-256-gcm', key, nonceOf(count, place)).setAAD(HEADER)
    write(Buffer.concat([cipher.update(chunk), cipher.final(), cipher.getAuthTag()]))
    count += 1
  }
  return {
    write(data) {
      pending = Buffer.concat([pending, data])
      // the last chunk is held back: only `finish` knows that it is the last
      while (pending.length > CHUNK_BYTES) {
        seal(pending.subarray(0, CHUNK_BYTES), 'middle')
        pending = pending.subarray(CHUNK_BYTES)
      }
    },
    finish: () => seal(pending, 'end'),
  }
}

/** Tells a wrong passphrase from a damaged file: a tag over the header, with a nonce that no chunk has. */
export function proofOf(key: Buffer): Buffer {
  const cipher = createCipheriv('aes-256-gcm', key, Buffer.alloc(12, 0xff)).setAAD(HEADER)
  cipher.final()
  return cipher.getAuthTag()
}

/** Unique below one key: the salt, and with it the key, is new for every file. */
function nonceOf(count: number, place: 'middle' | 'end'): Buffer {
  const nonce = Buffer.alloc(12)
  nonce.writeUIntBE(count, 5, 6)
  nonce[11] = place === 'end' ? 1 : 0
  return nonce
}

export interface Unsealer {
  /**
   * Exactly so many bytes.
   * @throws MeshError BACKUP_DAMAGED when the file holds less, or was changed
   */
  read(bytes: number): Buffer
  /** @throws MeshError BACKUP_DAMAGED when anything is left, or the end is missing */
  end(): void
}

/**
 * Opens the file and hands `use` the reader.
 * @throws MeshError CONFIG_MISSING | BACKUP_VERSION | BACKUP_DAMAGED | BACKUP_PASSPHRASE_WRONG
 */
export async function unsealFile<T>(
  file: string,
  passphrase: string,
  use: (unsealer: Unsealer) => T | Promise<T>,
): Promise<T> {
  const descriptor = open(file)
  try {
    const next = (bytes: number): Buffer => readUpTo(descriptor, bytes)
    const salt = readHeader(next, file)
    const key = await derive(passphrase, salt, KEY_BYTES, SCRYPT)
    if (!next(TAG_BYTES).equals(proofOf(key)))
      throw new MeshError('BACKUP_PASSPHRASE_WRONG', `the passphrase does not open ${file}`)
    return await use(openUnsealer(key, next, file))
  } finally {
    closeSync(descriptor)
  }
}

function open(file: string): number {
  try {
    return openSync(file, 'r')
  } catch (error) {
    throw new MeshError('CONFIG_MISSING', `${file} cannot be opened`, {
      cause: error,
      hint: 'name the file that troth ca backup wrote',
    })
  }
}

/** @throws MeshError BACKUP_VERSION | BACKUP_DAMAGED */
export function readHeader(next: (bytes: number) => Buffer, file: string): Buffer {
  const header = next(HEADER.length)
  if (!header.equals(HEADER)) {
    if (HEADER_OF_ANY_VERSION.test(header.toString('latin1')))
      throw new MeshError('BACKUP_VERSION', `${file} was written by another release`)
    throw new MeshError('BACKUP_DAMAGED', `${file} is no backup of a CA`)
  }
  const salt = next(SALT_BYTES)
  if (salt.length < SALT_BYTES) throw new MeshError('BACKUP_DAMAGED', `${file} ends in its header`)
  return salt
}

/** @param next the next bytes of the file after header, salt and proof, fewer at its end */
export function openUnsealer(key: Buffer, next: (bytes: number) => Buffer, file: string): Unsealer {
  let ahead = next(CHUNK_BYTES + TAG_BYTES)
  let pending = Buffer.alloc(0)
  let count = 0
  let isOver = false
  const more = (): void => {
    const chunk = ahead
    ahead = next(CHUNK_BYTES + TAG_BYTES)
    const place = ahead.length === 0 ? 'end' : 'middle'
    pending = Buffer.concat([pending, unseal(chunk, nonceOf(count, place))])
    isOver = place === 'end'
    count += 1
  }
  const unseal = (chunk: Buffer, nonce: Buffer): Buffer => {
    if (chunk.length < TAG_BYTES) throw damaged()
    const decipher = createDecipheriv('aes-256-gcm', key, nonce, { authTagLength: TAG_BYTES })
      .setAAD(HEADER)
      .setAuthTag(chunk.subarray(-TAG_BYTES))
    try {
      return Buffer.concat([decipher.update(chunk.subarray(0, -TAG_BYTES)), decipher.final()])
    } catch {
      throw damaged()
    }
  }
  const damaged = (): MeshError => new MeshError('BACKUP_DAMAGED', `${file} was changed or cut short`)
  return {
    read(bytes) {
      while (pending.length < bytes && !isOver) more()
      if (pending.length < bytes) throw damaged()
      const data = pending.subarray(0, bytes)
      pending = pending.subarray(bytes)
      return data
    },
    end() {
      while (!isOver) more()
      if (pending.length > 0) throw damaged()
    },
  }
}

function readUpTo(descriptor: number, bytes: number): Buffer {
  const buffer = Buffer.alloc(bytes)
  let filled = 0
  while (filled < bytes) {
    const got = readSync(descriptor, buffer, filled, bytes - filled, null)
    if (got === 0) break
    filled += got
  }
  return buffer.subarray(0, filled)
}

function writeAll(descriptor: number, bytes: Buffer): void {
  let written = 0
  while (written < bytes.length) written += writeSync(descriptor, bytes, written)
}
