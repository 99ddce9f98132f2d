// What a backup holds, in order: a manifest, then the bytes of each file it names. Names are of files beside each other, never
// paths, so that a backup can only write where it is unpacked.

import { closeSync, fstatSync, openSync, readSync, writeSync } from 'node:fs'
import path from 'node:path'
import { MeshError } from '../../mesh/errors.js'
import { integer, listOf, type Read, readJson, record, word } from '../../mesh/parse.js'
import { parseTrustDomain } from '../../mesh/spiffe-id.js'
import type { Sealer, Unsealer } from './sealed-file.js'

/** No slash and no dot at the start: a plain file of the directory. */
const FILE_NAME = /^[a-z0-9][a-z0-9.-]{0,99}$/

export const isFileName = (name: string): boolean => FILE_NAME.test(name)

function parseFileName(name: string): string {
  if (!isFileName(name)) throw new Error('must be a plain file name')
  return name
}

const file = record({ name: word(parseFileName, 100), size: integer(0, 2 ** 40) })

const READ_MANIFEST = record({
  version: integer(1, 1),
  trustDomain: word(parseTrustDomain, 255),
  /** When the database was copied, ms since epoch. */
  takenAt: integer(0),
  /** `<home>/ca` */
  ca: listOf(file, 1000),
  /** `<home>` */
  home: listOf(file, 10),
})
export type Manifest = Read<typeof READ_MANIFEST>

const MANIFEST_MAX_BYTES = 1024 * 1024
const PIECE_BYTES = 64 * 1024

export function writeManifest(sealer: Sealer, manifest: Manifest): void {
  const json = Buffer.from(JSON.stringify(manifest))
  const length = Buffer.alloc(4)
  length.writeUInt32BE(json.length)
  sealer.write(Buffer.concat([length, json]))
}

/** @throws MeshError BACKUP_DAMAGED | BACKUP_VERSION */
export function readManifest(unsealer: Unsealer): Manifest {
  const length = unsealer.read(4).readUInt32BE()
  if (length > MANIFEST_MAX_BYTES) throw new MeshError('BACKUP_DAMAGED', 'the manifest is too long')
  try {
    return readJson(unsealer.read(length).toString('utf8'), READ_MANIFEST, 'manifest')
  } catch (error) {
    // it was written by somebody who had the passphrase: another release
    throw new MeshError('BACKUP_VERSION', 'the backup has a manifest of another release', { cause: error })
  }
}

/** Copies exactly `size` bytes of the file, which must not be shorter. */
export function writeEntry(sealer: Sealer, from: string, size: number): void {
  const descriptor = openSync(from, 'r')
  try {
    const piece = Buffer.alloc(PIECE_BYTES)
    for (let left = size; left > 0; ) {
      const got = readSync(descriptor, piece, 0, Math.min(left, piece.length), null)
      if (got === 0) throw new MeshError('STATE_UNREADABLE', `${from} became shorter while it was read`)
      sealer.write(piece.subarray(0, got))
      left -= got
    }
  } finally {
    closeSync(descriptor)
  }
}

export function sizeOf(from: string): number {
  const descriptor = openSync(from, 'r')
  try {
    return fstatSync(descriptor).size
  } finally {
    closeSync(descriptor)
  }
}

/** Writes the next file of the backup, 0600, where none is. */
export function readEntry(unsealer: Unsealer, dir: string, { name, size }: Manifest['ca'][number]): void {
  const descriptor = openSync(path.join(dir, name), 'wx', 0o600)
  try {
    for (let left = size; left > 0; ) {
      const piece = unsealer.read(Math.min(left, PIECE_BYTES))
      for (let written = 0; written < piece.length; ) written += writeSync(descriptor, piece, written)
      left -= piece.length
    }
  } finally {
    closeSync(descriptor)
  }
}
