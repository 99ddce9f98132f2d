import { copyFileSync, readFileSync, writeFileSync } from 'node:fs'
import path from 'node:path'
import { describe, expect, it } from 'vitest'
import { createHierarchy, type LiveHierarchy, openHierarchy } from '../../../ca/hierarchy.js'
import { openKeyFile } from '../../../ca/keys/file-keys.js'
import { openKeyStore } from '../../../ca/keys/key-store.js'
import { createCaStore, openCaStore } from '../../../ca/store.js'
import { parseTrustDomain, type TrustDomain } from '../../../mesh/spiffe-id.js'
import { scratchDir } from '../../support/audit-records.js'

const trustDomain = parseTrustDomain('acme.internal')
const passphrases = { root: 'root words', issuing: 'issuing words' }
const now = Date.now()
const YEAR = 365 * 86_400_000

const create = async (dir: string, dev = false): Promise<void> => {
  const keys = await openKeyStore({ dir, secrets: passphrases, dev: true })
  await createHierarchy({ dir, trustDomain, dev, keys, now })
  createCaStore(path.join(dir, 'ca.db'), { trustDomain, address: '127.0.0.1' })
}
interface Changes {
  readonly passphrase?: string
  readonly trustDomain?: TrustDomain
  readonly dev?: boolean
  readonly now?: number
}
const open = async (dir: string, changes: Changes = {}): Promise<LiveHierarchy> => {
  const { passphrase = passphrases.issuing, dev = false, now: at = now } = changes
  const store = openCaStore(path.join(dir, 'ca.db'))
  try {
    const keys = await openKeyStore({ dir, secrets: { root: null, issuing: passphrase }, dev: true })
    const td = changes.trustDomain ?? trustDomain
    return await openHierarchy({ dir, trustDomain: td, store, keys, dev, now: () => at, toBe: 'served' })
  } finally {
    await store.close()
  }
}
const code = (name: string): unknown => expect.objectContaining({ code: name })

describe('the hierarchy of a home', () => {
  it('opens with the issuing passphrase; the root key has its own', async () => {
    using scratch = scratchDir()
    await create(scratch.dir)
    const hierarchy = await open(scratch.dir)
    expect(hierarchy.bundle.roots).toHaveLength(1)
    expect(hierarchy.current().issuer).toMatch(/^[0-9a-f]{64}$/)
    const rootKey = path.join(scratch.dir, 'root.key.pem')
    await expect(openKeyFile(rootKey, passphrases.issuing)).rejects.toEqual(code('PASSPHRASE_WRONG'))
    await expect(openKeyFile(rootKey, passphrases.root)).resolves.toBeDefined()
  })

  it('stays shut to a wrong or missing passphrase', async () => {
    using scratch = scratchDir()
    await create(scratch.dir)
    await expect(open(scratch.dir, { passphrase: 'guess' })).rejects.toEqual(code('PASSPHRASE_WRONG'))
    await expect(open(scratch.dir, { passphrase: '' })).rejects.toEqual(code('PASSPHRASE_MISSING'))
  })

  it('stops at a development root without dev', async () => {
    using scratch = scratchDir()
    await create(scratch.dir, true)
    await expect(open(scratch.dir)).rejects.toEqual(code('DEV_ROOT'))
    await expect(open(scratch.dir, { dev: true })).resolves.toBeDefined()
  })

  it('stops when either CA has expired', async () => {
    using scratch = scratchDir()
    await create(scratch.dir)
    await expect(open(scratch.dir, { now: now + YEAR + 1000 })).rejects.toEqual(code('CA_EXPIRED'))
  })

  it('stops when the files do not belong together, naming none of their secrets', async () => {
    using mine = scratchDir()
    using other = scratchDir()
    await create(mine.dir)
    await create(other.dir)
    for (const name of ['root.pem', 'issuing.pem', 'issuing.key.pem']) {
      const kept = readFileSync(path.join(mine.dir, name))
      copyFileSync(path.join(other.dir, name), path.join(mine.dir, name))
      await expect(open(mine.dir), name).rejects.toEqual(code('STATE_UNREADABLE'))
      writeFileSync(path.join(mine.dir, name), kept)
    }
    await expect(open(mine.dir, { trustDomain: parseTrustDomain('other.internal') })).rejects.toEqual(
      code('STATE_UNREADABLE'),
    )
    writeFileSync(path.join(mine.dir, 'issuing.key.pem'), 'junk')
    await expect(open(mine.dir)).rejects.toEqual(code('STATE_UNREADABLE'))
    writeFileSync(path.join(mine.dir, 'root.pem'), 'junk')
    await expect(open(mine.dir)).rejects.toEqual(code('STATE_UNREADABLE'))
  })
})
