import { copyFileSync, readFileSync, writeFileSync } from 'node:fs'
import path from 'node:path'
import { describe, expect, it } from 'vitest'
import { createHierarchy, openHierarchy, type StoredHierarchy } from '../../../ca/hierarchy.js'
import { openKeyStore } from '../../../ca/keys/key-store.js'
import { parseTrustDomain } from '../../../mesh/spiffe-id.js'
import { scratchDir } from '../../support/audit-records.js'

const trustDomain = parseTrustDomain('acme.internal')
const passphrases = { root: 'root words', issuing: 'issuing words' }
const now = Date.now()
const YEAR = 365 * 86_400_000

const create = async (dir: string, dev = false): ReturnType<typeof createHierarchy> => {
  const keys = await openKeyStore({ dir, secrets: passphrases, dev: true })
  return createHierarchy({ dir, trustDomain, dev, keys, now })
}
const open = async (
  dir: string,
  { passphrase = passphrases.issuing, ...changes }: Partial<StoredHierarchy> & { passphrase?: string } = {},
): ReturnType<typeof openHierarchy> => {
  const keys = await openKeyStore({ dir, secrets: { root: null, issuing: passphrase }, dev: true })
  return openHierarchy({ dir, trustDomain, keys, dev: false, now, ...changes })
}
const code = (name: string): unknown => expect.objectContaining({ code: name })

describe('the hierarchy of a home', () => {
  it('opens with the issuing passphrase; the root key has its own', async () => {
    using scratch = scratchDir()
    await create(scratch.dir)
    const { bundle, issuers } = await open(scratch.dir)
    expect(bundle.roots).toHaveLength(1)
    expect(issuers[0]?.issuer).toMatch(/^[0-9a-f]{64}$/)
    const openRoot = async (root: string) =>
      (await openKeyStore({ dir: scratch.dir, secrets: { root, issuing: null }, dev: true })).open('root')
    await expect(openRoot(passphrases.issuing)).rejects.toEqual(code('PASSPHRASE_WRONG'))
    await expect(openRoot(passphrases.root)).resolves.toBeDefined()
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
