// Makes a CA out of a backup, in a home that has none. It is built aside, checked, and moved into place in one step: what dies on
// the way leaves a directory ca.new-* that nobody reads. The restored CA is a new generation and waits (recovery.ts).

import { existsSync, mkdtempSync, readdirSync, readFileSync, renameSync, rmSync } from 'node:fs'
import path from 'node:path'
import type { Clock } from '../../host/clock.js'
import { withSetting } from '../../host/config.js'
import { makePrivateDir, writeFileAtomic } from '../../host/files.js'
import { MeshError } from '../../mesh/errors.js'
import type { TrustDomain } from '../../mesh/spiffe-id.js'
import { parseHost } from '../place.js'
import { openCaStore } from '../store.js'
import { type Manifest, readEntry, readManifest } from './archive.js'
import { HOME_FILES } from './backup.js'
import { type Unsealer, unsealFile } from './sealed-file.js'

export interface RestoreOptions {
  readonly home: string
  readonly file: string
  readonly passphrase: string
  /** Another host for tokens and the server certificate; null: as it was. */
  readonly address: string | null
  readonly clock: Clock
}

export interface Restored {
  readonly dir: string
  readonly trustDomain: TrustDomain
  readonly takenAt: number
  /** Instances that it waits for. */
  readonly awaited: number
  /** Settings of the home that were there already, and were left as they are. */
  readonly kept: readonly string[]
}

/**
 * @throws MeshError RESTORE_OVER_CA | BACKUP_DAMAGED | BACKUP_VERSION | BACKUP_PASSPHRASE_WRONG | CONFIG_MISSING |
 *   CONFIG_INVALID | STATE_UNREADABLE
 */
export async function restoreCa(options: RestoreOptions): Promise<Restored> {
  const { home, file, passphrase } = options
  const address = options.address === null ? null : parseHost(options.address)
  const dir = path.join(home, 'ca')
  refuseOver(dir)
  return unsealFile(file, passphrase, async (unsealer) => {
    const manifest = readManifest(unsealer)
    makePrivateDir(home)
    const aside = mkdtempSync(path.join(home, 'ca.new-'))
    const settings = mkdtempSync(path.join(home, 'settings.new-'))
    try {
      unpack(unsealer, manifest, { ca: aside, home: settings })
      const awaited = await makeOwn(aside, manifest, { ...options, address })
      const kept = putSettings(home, settings, address)
      putInPlace(aside, dir)
      const { trustDomain, takenAt } = manifest
      return { dir, trustDomain, takenAt, awaited, kept }
    } finally {
      rmSync(aside, { recursive: true, force: true })
      rmSync(settings, { recursive: true, force: true })
    }
  })
}

/** Serving or not: what is there is never written over. */
function refuseOver(dir: string): void {
  if (existsSync(dir) && readdirSync(dir).length > 0)
    throw new MeshError('RESTORE_OVER_CA', `there is a CA in ${dir}`)
}

/** All of it, to the end mark: only then it is known to be whole. */
function unpack(unsealer: Unsealer, manifest: Manifest, to: { ca: string; home: string }): void {
  const names = new Set(manifest.ca.map(({ name }) => name))
  const settings = new Set<string>(manifest.home.map(({ name }) => name))
  const isOurs = [...settings].every((name) => HOME_FILES.some((known) => known === name))
  if (
    names.size < manifest.ca.length ||
    settings.size < manifest.home.length ||
    !isOurs ||
    !names.has('ca.db')
  )
    throw new MeshError('BACKUP_VERSION', 'the backup holds other files than this release restores')
  for (const entry of manifest.ca) readEntry(unsealer, to.ca, entry)
  for (const entry of manifest.home) readEntry(unsealer, to.home, entry)
  unsealer.end()
}

/** Turns the copied database into one of its own generation. @returns how many instances it waits for */
async function makeOwn(
  aside: string,
  { trustDomain, takenAt }: Manifest,
  { address, clock }: { address: string | null; clock: Clock },
): Promise<number> {
  const store = openCaStore(path.join(aside, 'ca.db'))
  try {
    const mesh = await store.mesh()
    if (mesh.trustDomain !== trustDomain)
      throw new MeshError('BACKUP_DAMAGED', `the backup holds the database of ${mesh.trustDomain}`)
    const awaited = await store.liveInstances(takenAt)
    await store.beginRecovery(takenAt, awaited, clock.now())
    if (address !== null) await store.setAddress(address)
    return awaited.length
  } finally {
    await store.close()
  }
}

/** The home's own settings win. */
function putSettings(home: string, from: string, address: string | null): string[] {
  const kept: string[] = []
  for (const name of readdirSync(from)) {
    const target = path.join(home, name)
    if (existsSync(target)) {
      kept.push(name)
      continue
    }
    const text = readFileSync(path.join(from, name), 'utf8')
    const isAddressed = name === 'config.yaml' && address !== null
    writeFileAtomic(target, isAddressed ? withSetting(text, 'address', address) : text, 0o600)
  }
  return kept
}

/** A CA that was made meanwhile is not written over: a directory is only renamed onto an empty one. */
function putInPlace(aside: string, dir: string): void {
  try {
    renameSync(aside, dir)
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException
    if (code === 'ENOTEMPTY' || code === 'EEXIST')
      throw new MeshError('RESTORE_OVER_CA', `there is a CA in ${dir}`)
    throw error
  }
}
