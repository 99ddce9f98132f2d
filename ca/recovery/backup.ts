// One encrypted file of everything that a CA is: database, certificates, keys as they lie (encrypted, under their own passphrases),
// settings. It reads only, and the CA may serve meanwhile: the database is copied by SQLite as of one moment.

import { mkdtempSync, readdirSync, readFileSync, rmSync, statSync } from 'node:fs'
import path from 'node:path'
import { isDeepStrictEqual } from 'node:util'
import type { Clock } from '../../host/clock.js'
import { copySqlite } from '../../host/sqlite.js'
import { MeshError } from '../../mesh/errors.js'
import { readKeyChoice } from '../keys/key-choice.js'
import { openCaStore } from '../store.js'
import { isFileName, type Manifest, sizeOf, writeEntry, writeManifest } from './archive.js'
import { sealFile } from './sealed-file.js'

export interface BackupOptions {
  readonly home: string
  /** Must not be there. */
  readonly file: string
  readonly passphrase: string
  readonly clock: Clock
}

export interface BackedUp {
  readonly file: string
  readonly bytes: number
  readonly takenAt: number
  /** Keys in it, by file name. */
  readonly keys: readonly string[]
  /** The issuing keys are on a PKCS#11 token, and so not in it. */
  readonly onToken: boolean
}

/** Of the home: what the CA needs to be served as it was. */
export const HOME_FILES = ['config.yaml', 'policy.yaml'] as const
const DATABASE = 'ca.db'
/** Not state: sockets, locks, what SQLite and this program leave beside their files while they write. */
const PASSING = /^(lock.*|.*\.sock|.*\.tmp|ca\.db.*)$/
const FILE_MAX_BYTES = 8 * 1024 * 1024

/** @throws MeshError CONFIG_MISSING | BACKUP_EXISTS | STATE_UNREADABLE */
export async function backupCa(options: BackupOptions): Promise<BackedUp> {
  const { home, file, passphrase, clock } = options
  const dir = path.join(home, 'ca')
  if (statSync(path.join(dir, DATABASE), { throwIfNoEntry: false }) === undefined)
    throw new MeshError('CONFIG_MISSING', `there is no CA in ${home}`)
  const aside = mkdtempSync(path.join(home, 'backup.new-'))
  try {
    const takenAt = clock.now()
    const files = copyDatabase(dir, aside)
    const database = path.join(aside, DATABASE)
    const trustDomain = await trustDomainOf(database)
    const ca = [
      { name: DATABASE, size: sizeOf(database) },
      ...files.map(({ name, content }) => ({ name, size: content.length })),
    ]
    const settings = HOME_FILES.filter(
      (name) => statSync(path.join(home, name), { throwIfNoEntry: false })?.isFile() === true,
    ).map((name) => ({ name, size: sizeOf(path.join(home, name)) }))
    const manifest: Manifest = { version: 1, trustDomain, takenAt, ca, home: settings }
    await sealFile(file, passphrase, async (sealer) => {
      writeManifest(sealer, manifest)
      writeEntry(sealer, database, sizeOf(database))
      // as they were beside the database: a rotation may have gone on since
      for (const { content } of files) sealer.write(content)
      for (const { name, size } of settings) writeEntry(sealer, path.join(home, name), size)
      await Promise.resolve()
    })
    const keys = files.map(({ name }) => name).filter((name) => name.endsWith('.key.pem'))
    return { file, bytes: sizeOf(file), takenAt, keys, onToken: readKeyChoice(dir) !== null }
  } finally {
    rmSync(aside, { recursive: true, force: true })
  }
}

const TRIES = 3

/**
 * Copies the database, and finds the files that belong to it: they are looked at before and after, so that a rotation in between
 * cannot leave a database without its keys.
 */
function copyDatabase(dir: string, aside: string): StateFile[] {
  for (let attempt = 0; attempt < TRIES; attempt += 1) {
    const before = stateOf(dir)
    copySqlite(path.join(dir, DATABASE), path.join(aside, DATABASE))
    if (isDeepStrictEqual(stateOf(dir), before)) return before
    rmSync(path.join(aside, DATABASE))
  }
  throw new MeshError('STATE_IN_USE', `the files of ${dir} change while they are read`, {
    hint: 'let the rotation finish, then try again',
  })
}

interface StateFile {
  readonly name: string
  readonly content: Buffer
}

function stateOf(dir: string): StateFile[] {
  return readdirSync(dir, { withFileTypes: true })
    .filter((entry) => entry.isFile() && isFileName(entry.name) && !PASSING.test(entry.name))
    .map(({ name }) => {
      const { size } = statSync(path.join(dir, name))
      if (size > FILE_MAX_BYTES)
        throw new MeshError('STATE_UNREADABLE', `${path.join(dir, name)} is no file of a CA: ${size} bytes`)
      return { name, content: readFileSync(path.join(dir, name)) }
    })
    .sort((one, other) => (one.name < other.name ? -1 : 1))
}

/** Also proves that the copy is a whole database. */
async function trustDomainOf(database: string): Promise<Manifest['trustDomain']> {
  const store = openCaStore(database)
  try {
    return (await store.mesh()).trustDomain
  } finally {
    await store.close()
  }
}
