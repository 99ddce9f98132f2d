// Keys in files: what is made opens again, other programs open it too, keys of an older release open and are encrypted anew, and
// what is on disk is read strictly.

import { execFileSync } from 'node:child_process'
import { createPrivateKey, createPublicKey, generateKeyPairSync, verify } from 'node:crypto'
import { chmodSync, mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { afterEach, beforeEach, expect, it } from 'vitest'
import { encryptKey, SCRYPT_DEV } from '../../../../ca/keys/encrypted-key.js'
import { openKeyStore } from '../../../../ca/keys/key-store.js'
import { integer, octetString, oid, sequence } from '../../../../mesh/der-writer.js'

const SECRETS = { root: 'root passphrase', issuing: 'issuing passphrase' }
let dir: string
const fileOf = (label: string): string => path.join(dir, `${label}.key.pem`)

beforeEach(() => {
  dir = mkdtempSync(path.join(tmpdir(), 'tkeys-'))
})
afterEach(() => rmSync(dir, { recursive: true, force: true }))

it('makes a key, opens it again and signs the same way', async () => {
  const keys = await openKeyStore({ dir, secrets: SECRETS, dev: true })
  const made = await keys.create('issuing')
  const opened = await keys.open('issuing')
  expect(opened.spkiDer).toEqual(made.spkiDer)
  const data = Buffer.from('to be signed')
  const key = createPublicKey({ key: made.spkiDer, format: 'der', type: 'spki' })
  expect(verify('sha256', data, key, await opened.sign(data))).toBe(true)
  expect(statSync(fileOf('issuing')).mode & 0o777).toBe(0o600)
})

it('lists and destroys by label', async () => {
  const keys = await openKeyStore({ dir, secrets: SECRETS, dev: true })
  await keys.create('root')
  await keys.create('issuing-4f21')
  expect(await keys.list('root')).toEqual(['root'])
  expect(await keys.list('issuing')).toEqual(['issuing-4f21'])
  await keys.destroy('issuing-4f21')
  await keys.destroy('issuing-4f21')
  expect(await keys.list('issuing')).toEqual([])
  expect(await keys.list('root')).toEqual(['root'])
})

it('opens with openssl and with Node', async () => {
  const keys = await openKeyStore({ dir, secrets: SECRETS, dev: false })
  const { spkiDer } = await keys.create('root')
  const pem = readFileSync(fileOf('root'), 'utf8')
  const opened = createPublicKey(createPrivateKey({ key: pem, passphrase: SECRETS.root }))
  expect(opened.export({ format: 'der', type: 'spki' })).toEqual(spkiDer)
  const passphrase = path.join(dir, 'passphrase')
  writeFileSync(passphrase, SECRETS.root)
  const args = ['pkey', '-in', fileOf('root'), '-passin', `file:${passphrase}`, '-pubout', '-outform', 'DER']
  expect(execFileSync('openssl', args)).toEqual(spkiDer)
})

it('opens a key of an older release and encrypts it anew', async () => {
  const { privateKey, publicKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' })
  const old = privateKey.export({
    format: 'pem',
    type: 'pkcs8',
    cipher: 'aes-256-cbc',
    passphrase: SECRETS.issuing,
  })
  writeFileSync(fileOf('issuing'), old, { mode: 0o600 })
  const keys = await openKeyStore({ dir, secrets: SECRETS, dev: true })
  expect((await keys.open('issuing')).spkiDer).toEqual(publicKey.export({ format: 'der', type: 'spki' }))
  expect(readFileSync(fileOf('issuing'), 'utf8')).not.toBe(old)
  expect((await keys.open('issuing')).spkiDer).toEqual(publicKey.export({ format: 'der', type: 'spki' }))
})

it('tells a wrong passphrase from a missing one, and from a missing key', async () => {
  const keys = await openKeyStore({ dir, secrets: SECRETS, dev: true })
  await keys.create('issuing')
  await keys.create('root')
  const code = (secrets: { root: string | null; issuing: string | null }, label: 'root' | 'issuing') =>
    openKeyStore({ dir, secrets, dev: true }).then((store) => store.open(label))
  await expect(code({ root: null, issuing: 'other' }, 'issuing')).rejects.toMatchObject({
    code: 'PASSPHRASE_WRONG',
  })
  await expect(code({ root: null, issuing: 'other' }, 'root')).rejects.toMatchObject({
    code: 'PASSPHRASE_MISSING',
  })
  await expect(keys.open('issuing-00')).rejects.toMatchObject({ code: 'CA_KEY_MISSING' })
  await keys.destroy('root')
  await expect(keys.open('root')).rejects.toMatchObject({ code: 'ROOT_KEY_ABSENT' })
})

it('never makes a key where there is one', async () => {
  const keys = await openKeyStore({ dir, secrets: SECRETS, dev: true })
  await keys.create('root')
  const before = readFileSync(fileOf('root'))
  await expect(keys.create('root')).rejects.toMatchObject({ code: 'CA_KEY_EXISTS' })
  expect(readFileSync(fileOf('root'))).toEqual(before)
})

it('does not open a key that others may read', async () => {
  const keys = await openKeyStore({ dir, secrets: SECRETS, dev: true })
  await keys.create('root')
  chmodSync(fileOf('root'), 0o640)
  await expect(keys.open('root')).rejects.toMatchObject({ code: 'STATE_PERMISSIONS' })
})

/** An encrypted key with other scrypt parameters; it could never be opened, only worked on. */
function withScrypt({ N, r, p, salt = 16 }: { N: number; r: number; p: number; salt?: number }): string {
  const kdf = sequence(
    oid('1.3.6.1.4.1.11591.4.11'),
    sequence(octetString(Buffer.alloc(salt)), integer(N), integer(r), integer(p)),
  )
  return pemOf(kdf)
}

const withPbkdf2 = (iterations: number): string =>
  pemOf(
    sequence(
      oid('1.2.840.113549.1.5.12'),
      sequence(
        octetString(Buffer.alloc(16)),
        integer(iterations),
        sequence(oid('1.2.840.113549.2.9'), Buffer.from([5, 0])),
      ),
    ),
  )

function pemOf(kdf: Buffer): string {
  const cipher = sequence(oid('2.16.840.1.101.3.4.1.42'), octetString(Buffer.alloc(16)))
  const scheme = sequence(oid('1.2.840.113549.1.5.13'), sequence(kdf, cipher))
  const lines = sequence(scheme, octetString(Buffer.alloc(144)))
    .toString('base64')
    .match(/.{1,64}/g)
  return `-----BEGIN ENCRYPTED PRIVATE KEY-----\n${lines?.join('\n') ?? ''}\n-----END ENCRYPTED PRIVATE KEY-----\n`
}

it.each([
  ['a gigabyte of memory', withScrypt({ N: 2 ** 20, r: 8, p: 1 })],
  ['a large block', withScrypt({ N: 2 ** 14, r: 1024, p: 1 })],
  ['endless passes', withScrypt({ N: 2 ** 14, r: 8, p: 2 ** 24 })],
  ['no power of two', withScrypt({ N: 16_383, r: 8, p: 1 })],
  ['no passes', withScrypt({ N: 2 ** 14, r: 8, p: 0 })],
  ['no salt', withScrypt({ N: 2 ** 14, r: 8, p: 1, salt: 0 })],
  ['two thousand million iterations', withPbkdf2(2 ** 31 - 1)],
  ['one iteration', withPbkdf2(1)],
  ['no key at all', 'nothing\n'],
  ['something very long', `-----BEGIN ENCRYPTED PRIVATE KEY-----\n${'A'.repeat(100_000)}\n`],
])('refuses a key file that wants %s before any work is done', async (_what, pem) => {
  writeFileSync(fileOf('issuing'), pem, { mode: 0o600 })
  const keys = await openKeyStore({ dir, secrets: SECRETS, dev: true })
  const before = performance.now()
  await expect(keys.open('issuing')).rejects.toMatchObject({ code: 'STATE_UNREADABLE' })
  expect(performance.now() - before).toBeLessThan(2000)
  expect(readFileSync(fileOf('issuing'), 'utf8')).toBe(pem)
})

it('refuses every cut of a key file and never writes over it', async () => {
  const { privateKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' })
  const pem = await encryptKey(
    privateKey.export({ format: 'der', type: 'pkcs8' }),
    SECRETS.issuing,
    SCRYPT_DEV,
  )
  const keys = await openKeyStore({ dir, secrets: SECRETS, dev: true })
  for (let length = 0; length < pem.length; length += 7) {
    writeFileSync(fileOf('issuing'), pem.slice(0, length), { mode: 0o600 })
    await expect(keys.open('issuing')).rejects.toMatchObject({ code: 'STATE_UNREADABLE' })
    expect(readFileSync(fileOf('issuing'), 'utf8')).toBe(pem.slice(0, length))
  }
})
