// A CA's directory in which something is missing, cut, foreign or of another mesh is refused at start by a code that names the file,
// and nothing in it is written over; what a killed init or restore left is named and left alone.

import {
  copyFileSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { afterEach, beforeEach, expect, it } from 'vitest'
import { initCa } from '../../ca/init.js'
import { serveCa } from '../../ca/main.js'
import { systemClock } from '../../host/clock.js'
import { openLifecycle } from '../../host/lifecycle.js'
import { parseTrustDomain } from '../../mesh/spiffe-id.js'
import { type MemoryLog, memoryLog } from '../support/memory-log.js'

const passphrases = { root: 'root words', issuing: 'issuing words' }
const homes: string[] = []

async function makeHome(trustDomain = 'acme.internal'): Promise<string> {
  const home = mkdtempSync(path.join(tmpdir(), 'tca-'))
  homes.push(home)
  const made = { home, trustDomain: parseTrustDomain(trustDomain), address: '127.0.0.1', dev: true }
  await initCa({ ...made, passphrases, tokens: null, clock: systemClock })
  return home
}

const serve = (home: string, log: MemoryLog = memoryLog()) =>
  serveCa({
    home,
    listen: '127.0.0.1',
    port: 0,
    adminPort: null,
    passphrase: passphrases.issuing,
    dev: true,
    leafTtlMs: 86_400_000,
    clock: systemClock,
    log,
    lifecycle: openLifecycle(),
  })

/** Every file of the CA, but what SQLite keeps beside its own. */
const contentOf = (home: string): Record<string, string> =>
  Object.fromEntries(
    readdirSync(path.join(home, 'ca'))
      .filter((name) => !/^(ca\.db-|lock|admin)/.test(name))
      .map((name) => [name, readFileSync(path.join(home, 'ca', name)).toString('base64')]),
  )

let home: string
beforeEach(async () => {
  home = await makeHome()
})
afterEach(() => {
  for (const each of homes.splice(0)) rmSync(each, { recursive: true, force: true })
})

it.each(['root.pem', 'issuing.pem', 'issuing.key.pem', 'ca.db'])(
  'refuses %s of another CA of the same name',
  async (name) => {
    const other = await makeHome()
    copyFileSync(path.join(other, 'ca', name), path.join(home, 'ca', name))
    const before = contentOf(home)
    await expect(serve(home)).rejects.toMatchObject({ code: 'STATE_UNREADABLE' })
    expect(contentOf(home)).toEqual(before)
  },
)

it('refuses a database of another mesh than its certificates', async () => {
  const other = await makeHome('other.internal')
  copyFileSync(path.join(other, 'ca', 'ca.db'), path.join(home, 'ca', 'ca.db'))
  const before = contentOf(home)
  await expect(serve(home)).rejects.toMatchObject({ code: 'STATE_UNREADABLE' })
  expect(contentOf(home)).toEqual(before)
})

it('refuses a choice of keys that it cannot read, and never falls back to files', async () => {
  for (const choice of ['', '{', '{"version":2}', '{"version":1,"module":"/x"}']) {
    writeFileSync(path.join(home, 'ca', 'keys.json'), choice, { mode: 0o600 })
    await expect(serve(home), choice).rejects.toMatchObject({ code: 'STATE_UNREADABLE' })
    expect(readFileSync(path.join(home, 'ca', 'keys.json'), 'utf8')).toBe(choice)
  }
})

it('names what a killed init, restore or write left, and leaves it alone', async () => {
  const left = [path.join(home, 'ca.new-4f21aa'), path.join(home, 'backup.new-b1')]
  for (const dir of left) mkdirSync(dir)
  const cut = path.join(home, 'ca', 'root.pem.4711.tmp')
  writeFileSync(cut, 'cut')
  const log = memoryLog()
  await (await serve(home, log)).close()
  const { fields } = await log.line('ca.leftovers')
  expect(fields).toEqual({ leftovers: [...left, cut].sort().join(' ') })
  for (const each of [...left, cut]) expect(existsSync(each)).toBe(true)
})
