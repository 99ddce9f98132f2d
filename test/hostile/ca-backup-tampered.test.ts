// A backup that was changed in any byte, cut, extended, of another version or opened with another passphrase is refused by its code,
// and nothing is left of it; a restore that is killed leaves no CA behind.

import { once } from 'node:events'
import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { initCa } from '../../ca/init.js'
import { isFileName, readManifest, writeManifest } from '../../ca/recovery/archive.js'
import { backupCa } from '../../ca/recovery/backup.js'
import { restoreCa } from '../../ca/recovery/restore.js'
import { openSealer, openUnsealer, sealFile, unsealFile } from '../../ca/recovery/sealed-file.js'
import { systemClock } from '../../host/clock.js'
import { parseTrustDomain } from '../../mesh/spiffe-id.js'
import { runTranspiled } from '../support/run-transpiled.js'

const passphrase = 'backup passphrase'
const trustDomain = parseTrustDomain('acme.internal')
const code = (name: string): unknown => expect.objectContaining({ code: name })

describe('the sealed stream', () => {
  const key = Buffer.alloc(32, 7)
  const seal = (data: Buffer): Buffer => {
    const pieces: Buffer[] = []
    const sealer = openSealer(key, (bytes) => void pieces.push(bytes))
    sealer.write(data)
    sealer.finish()
    return Buffer.concat(pieces)
  }
  const open = (sealed: Buffer, bytes: number): Buffer => {
    let at = 0
    const next = (count: number): Buffer => {
      at += count
      return sealed.subarray(at - count, at)
    }
    const unsealer = openUnsealer(key, next, 'the file')
    const data = unsealer.read(bytes)
    unsealer.end()
    return data
  }

  it.each([0, 1, 65_535, 65_536, 65_537, 200_000])('gives back %d bytes as they were', (bytes) => {
    const data = Buffer.alloc(bytes, 5)
    expect(open(seal(data), bytes).equals(data)).toBe(true)
  })

  it('is refused with any byte changed', () => {
    const sealed = seal(Buffer.from('a short text'))
    for (let at = 0; at < sealed.length; at += 1) {
      const changed = Buffer.from(sealed)
      changed[at] = (changed[at] ?? 0) ^ 1
      expect(() => open(changed, 12)).toThrow(code('BACKUP_DAMAGED'))
    }
  })

  it('is refused when it ends early, or says more than was asked, although all that was asked is there', () => {
    const sealed = seal(Buffer.alloc(200_000, 1))
    expect(() => open(sealed.subarray(0, 2 * (65_536 + 16)), 2 * 65_536)).toThrow(code('BACKUP_DAMAGED'))
    expect(() => open(sealed, 199_999)).toThrow(code('BACKUP_DAMAGED'))
  })

  it('is refused when chunks are cut, swapped, left out, repeated or added', () => {
    const size = 65_536 + 16
    const sealed = seal(Buffer.alloc(200_000, 1))
    const chunks = [0, 1, 2, 3].map((n) => sealed.subarray(n * size, (n + 1) * size))
    const [one, two, three, four] = chunks as [Buffer, Buffer, Buffer, Buffer]
    const wrong = {
      cut: [one, two, three],
      'cut in a chunk': [one, two, three.subarray(0, 100)],
      swapped: [one, three, two, four],
      'left out': [one, three, four],
      repeated: [one, two, two, three, four],
      added: [one, two, three, four, four],
      'more bytes': [one, two, three, four, Buffer.alloc(1)],
    }
    for (const [name, parts] of Object.entries(wrong))
      expect(() => open(Buffer.concat(parts), 200_000), name).toThrow(code('BACKUP_DAMAGED'))
    expect(() => open(Buffer.alloc(0), 1)).toThrow(code('BACKUP_DAMAGED'))
    // what was not asked for is not dropped in silence
    expect(() => open(sealed, 199_999)).toThrow(code('BACKUP_DAMAGED'))
  })
})

describe('a backup file', () => {
  let dir: string
  let file: string
  const home = (): string => mkdtempSync(path.join(dir, 'home-'))
  const restore = (into: string, changes: object = {}) =>
    restoreCa({ home: into, file, passphrase, address: null, clock: systemClock, ...changes })

  beforeAll(async () => {
    dir = mkdtempSync(path.join(tmpdir(), 'tbackup-'))
    file = path.join(dir, 'ca.backup')
    const original = home()
    const passphrases = { root: 'r', issuing: 'i' }
    const at = { home: original, trustDomain, address: '127.0.0.1', clock: systemClock }
    await initCa({ ...at, dev: true, passphrases, tokens: null })
    await backupCa({ home: original, file, passphrase, clock: systemClock })
  })
  afterAll(() => rmSync(dir, { recursive: true, force: true }))

  it('is refused by what is wrong with it, and leaves the home empty', async () => {
    const whole = readFileSync(file)
    const damages: [string, Buffer, string][] = [
      ['empty', Buffer.alloc(0), 'BACKUP_DAMAGED'],
      ['something else', Buffer.from('a photograph of a cat, quite long'), 'BACKUP_DAMAGED'],
      [
        'of another version',
        Buffer.concat([Buffer.from('troth backup v2\n'), whole.subarray(16)]),
        'BACKUP_VERSION',
      ],
      ['cut in its header', whole.subarray(0, 30), 'BACKUP_DAMAGED'],
      [
        'with another salt',
        Buffer.concat([whole.subarray(0, 16), Buffer.alloc(32), whole.subarray(48)]),
        'BACKUP_PASSPHRASE_WRONG',
      ],
      ['cut in half', whole.subarray(0, 64 + 65_552), 'BACKUP_DAMAGED'],
      ['without its last byte', whole.subarray(0, -1), 'BACKUP_DAMAGED'],
      ['with a byte more', Buffer.concat([whole, Buffer.alloc(1)]), 'BACKUP_DAMAGED'],
    ]
    for (const [name, bytes, wanted] of damages) {
      const damaged = path.join(dir, 'damaged')
      writeFileSync(damaged, bytes)
      const into = home()
      await expect(restore(into, { file: damaged }), name).rejects.toEqual(code(wanted))
      expect(readdirSync(into), name).toEqual([])
    }
    await expect(restore(home(), { passphrase: 'guess' })).rejects.toEqual(code('BACKUP_PASSPHRASE_WRONG'))
    await expect(restore(home(), { file: path.join(dir, 'nowhere') })).rejects.toEqual(code('CONFIG_MISSING'))
  })

  it('can write nowhere but into the CA, whoever made it', async () => {
    for (const name of ['../planted', '/tmp/planted', '.bashrc', 'a/b', '', 'ca.db\n', 'A'])
      expect(isFileName(name), name).toBe(false)
    const names = ['../planted', 'a/b']
    for (const [index, name] of names.entries()) {
      const planted = path.join(dir, `planted-${index}`)
      await sealFile(planted, passphrase, async (sealer) => {
        const ca = ['ca.db', name].map((each) => ({ name: each, size: 0 }))
        writeManifest(sealer, { version: 1, trustDomain, takenAt: 1, ca, home: [] })
        await Promise.resolve()
      })
      const into = home()
      await expect(restore(into, { file: planted })).rejects.toEqual(code('BACKUP_VERSION'))
      expect(readdirSync(into)).toEqual([])
    }
  })

  it('is refused when it holds more than its manifest says, though all of that is there', async () => {
    const longer = path.join(dir, 'longer')
    const copy = (more: Buffer) =>
      unsealFile(file, passphrase, async (unsealer) => {
        const manifest = readManifest(unsealer)
        await sealFile(longer, passphrase, async (sealer) => {
          writeManifest(sealer, manifest)
          for (const { size } of [...manifest.ca, ...manifest.home]) sealer.write(unsealer.read(size))
          sealer.write(more)
          await Promise.resolve()
        })
      })
    await copy(Buffer.from('more'))
    const into = home()
    await expect(restore(into, { file: longer })).rejects.toEqual(code('BACKUP_DAMAGED'))
    expect(readdirSync(into)).toEqual([])
    rmSync(longer)
    await copy(Buffer.alloc(0))
    await expect(restore(into, { file: longer })).resolves.toMatchObject({ trustDomain })
  })

  it('is unpacked for its user alone', async () => {
    const into = home()
    await restore(into)
    const ca = path.join(into, 'ca')
    expect(statSync(ca).mode & 0o777).toBe(0o700)
    const files = readdirSync(ca)
    expect(files).toContain('issuing.key.pem')
    for (const name of files) expect(statSync(path.join(ca, name)).mode & 0o777, name).toBe(0o600)
  })

  it('is never restored over anything, nor over a CA that came meanwhile', async () => {
    const into = home()
    mkdirSync(path.join(into, 'ca'))
    writeFileSync(path.join(into, 'ca', 'ca.db'), 'mine')
    await expect(restore(into)).rejects.toEqual(code('RESTORE_OVER_CA'))
    expect(readFileSync(path.join(into, 'ca', 'ca.db'), 'utf8')).toBe('mine')
    const both = home()
    const outcomes = await Promise.allSettled([restore(both), restore(both)])
    expect(outcomes.map(({ status }) => status).sort()).toEqual(['fulfilled', 'rejected'])
    expect(outcomes.find(({ status }) => status === 'rejected')).toMatchObject({
      reason: { code: 'RESTORE_OVER_CA' },
    })
  })

  it('leaves no CA when the restore is killed, and is restored afterwards', async () => {
    const program = mkdtempSync(path.join(dir, 'program-'))
    for (const afterMs of [150, 300, 600]) {
      const into = home()
      const child = runTranspiled('test/support/restoring-child.ts', program, [into, file, passphrase])
      const timer = setTimeout(() => child.kill('SIGKILL'), afterMs)
      await once(child, 'exit')
      clearTimeout(timer)
      const isThere = existsSync(path.join(into, 'ca'))
      if (isThere) expect(readdirSync(path.join(into, 'ca'))).toContain('ca.db')
      else await expect(restore(into)).resolves.toMatchObject({ trustDomain })
    }
  })
})
