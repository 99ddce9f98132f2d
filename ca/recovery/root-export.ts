// Takes the root's key off the machine: the encrypted file is copied, the copy is proved to open, and only then the original goes.

import { existsSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs'
import path from 'node:path'
import { isMeshError, MeshError } from '../../mesh/errors.js'
import { openKeyFile } from '../keys/file-keys.js'
import { readKeyChoice } from '../keys/key-choice.js'

/** Where the root's key is. `away`: it was exported, or never was here. */
export type RootKeyPlace = 'here' | 'away' | 'token'

/** @param dir `<home>/ca` @throws MeshError CONFIG_MISSING */
export function rootKeyPlace(dir: string): RootKeyPlace {
  if (!existsSync(dir)) throw new MeshError('CONFIG_MISSING', `there is no CA in ${path.dirname(dir)}`)
  const choice = readKeyChoice(dir)
  if (choice !== null && choice.rootToken !== null) return 'token'
  return rootKeysIn(dir).length > 0 ? 'here' : 'away'
}

/** One; in the middle of a rotation, or after one whose root was not taken away before, two. */
const rootKeysIn = (dir: string): string[] =>
  readdirSync(dir)
    .filter((name) => /^root(-[0-9a-f]+)?\.key\.pem$/.test(name))
    .sort()

export interface RootExport {
  /** `<home>/ca` */
  readonly dir: string
  /** A file that is not there, or a directory. */
  readonly to: string
  /** Of the root. */
  readonly passphrase: string
}

/**
 * Moves the root's key to where it is told.
 * @returns the files that hold it now
 * @throws MeshError ROOT_KEY_ABSENT | ROOT_KEY_ON_TOKEN | BACKUP_EXISTS | PASSPHRASE_WRONG | STATE_UNREADABLE
 */
export async function exportRootKey({ dir, to, passphrase }: RootExport): Promise<string[]> {
  const place = rootKeyPlace(dir)
  if (place === 'away') throw new MeshError('ROOT_KEY_ABSENT', `${dir} holds no key of a root`)
  if (place === 'token')
    throw new MeshError('ROOT_KEY_ON_TOKEN', "the root's key is on a token, and cannot leave it")
  const names = rootKeysIn(dir)
  const isDir = statSync(to, { throwIfNoEntry: false })?.isDirectory() === true
  if (!isDir && names.length > 1)
    throw new MeshError('STATE_UNREADABLE', `${dir} holds ${names.length} keys of roots`, {
      hint: 'name a directory that is there',
    })
  const targets: string[] = []
  for (const name of names)
    targets.push(await move(path.join(dir, name), isDir ? path.join(to, name) : to, passphrase))
  return targets
}

async function move(original: string, target: string, passphrase: string): Promise<string> {
  const { spkiDer } = await openKeyFile(original, passphrase)
  copy(original, target)
  try {
    const copied = await openKeyFile(target, passphrase)
    if (!copied.spkiDer.equals(spkiDer))
      throw new MeshError('STATE_UNREADABLE', `${target} holds another key`)
  } catch (error) {
    rmSync(target, { force: true })
    throw isMeshError(error, 'STATE_PERMISSIONS') ? cannotHold(target, error) : error
  }
  rmSync(original)
  return target
}

function copy(from: string, target: string): void {
  try {
    writeFileSync(target, readFileSync(from), { flag: 'wx', mode: 0o600, flush: true })
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'EEXIST')
      throw new MeshError('BACKUP_EXISTS', `${target} exists already`)
    throw cannotHold(target, error)
  }
}

const cannotHold = (target: string, cause: unknown): MeshError =>
  new MeshError('STATE_UNREADABLE', `${target} cannot be written for this user alone`, {
    cause,
    hint: 'name a place where files can be kept from other users; the key is where it was',
  })
