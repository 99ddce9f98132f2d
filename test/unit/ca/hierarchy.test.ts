import { copyFileSync, readFileSync, writeFileSync } from 'node:fs'
import path from 'node:path'
import { describe, expect, it } from 'vitest'
import { createHierarchy, openHierarchy, type StoredHierarchy } from '../../../ca/hierarchy.js'
import { readKey } from '../../../ca/key-store.js'
import { parseTrustDomain } from '../../../mesh/spiffe-id.js'
import { scratchDir } from '../../support/audit-records.js'

const trustDomain = parseTrustDomain('acme.internal')
const passphrases = { root: 'root words', issuing: 'issuing words' }
const now = Date.now()
const YEAR = 365 * 86_400_000

const create = (dir: string, dev = false): ReturnType<typeof createHierarchy> =>
  createHierarchy({ dir, trustDomain, dev, passphrases, now })
const open = (dir: string, changes: Partial<StoredHierarchy> = {}): ReturnType<typeof openHierarchy> =>
  openHierarchy({ dir, trustDomain, passphrase: passphrases.issuing, dev: false, now, ...changes })
const code = (name: string): unknown => expect.objectContaining({ code: name })

describe('the hierarchy of a home', () => {
  it('opens with the issuing passphrase; the root key has its own', async () => {
    using scratch = scratchDir()
    await create(scratch.dir)
    const { bundle, current } = await open(scratch.dir)
    expect(bundle.roots).toHaveLength(1)
    expect(current().issuer).toMatch(/^[0-9a-f]{64}$/)
    const rootKey = path.join(scratch.dir, 'root.key.pem')
    expect(() => readKey(rootKey, passphrases.issuing)).toThrow(code('PASSPHRASE_WRONG'))
    expect(readKey(rootKey, passphrases.root).asymmetricKeyType).toBe('ec')
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
