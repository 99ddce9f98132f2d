// Keys on a PKCS#11 token (SoftHSM2): made there and never leaving it, opened again by label, signing through a lost session; and
// each thing that can be missing or wrong has its own code.

import { createPublicKey, verify } from 'node:crypto'
import { mkdtempSync, readdirSync, rmSync } from 'node:fs'
import { createRequire } from 'node:module'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import { onTokens, writeKeyChoice } from '../../../../ca/keys/key-choice.js'
import { type KeySecrets, type KeyStore, openKeyStore } from '../../../../ca/keys/key-store.js'
import { openToken } from '../../../../ca/keys/pkcs11-token.js'
import { makeSoftTokens, PIN, SOFTHSM, whyNoToken } from '../../../support/soft-token.js'

const why = whyNoToken()
const SECRETS = { root: 'root passphrase', issuing: PIN }

describe.skipIf(why !== undefined)(why ?? 'keys on a token', () => {
  let tokens: Disposable
  let dir: string
  const opened: KeyStore[] = []

  beforeAll(() => {
    tokens = makeSoftTokens('issuing token', 'root token', 'twin', 'twin')
  })
  afterAll(() => tokens[Symbol.dispose]())
  beforeEach(() => {
    dir = mkdtempSync(path.join(tmpdir(), 'tkeys-'))
    return async () => {
      for (const store of opened.splice(0)) await store.close()
      rmSync(dir, { recursive: true, force: true })
    }
  })

  const choose = (issuingToken: string, rootToken: string | null = null): void =>
    writeKeyChoice(dir, onTokens({ module: SOFTHSM, issuingToken, rootToken }))
  const open = async (secrets: KeySecrets = SECRETS): Promise<KeyStore> => {
    const store = await openKeyStore({ dir, secrets, dev: true })
    opened.push(store)
    return store
  }

  it('makes a key on the token, finds it again by its label and signs as ecdsa-with-SHA256', async () => {
    choose('issuing token')
    const made = await (await open()).create('issuing')
    const again = await (await open()).open('issuing')
    expect(again.spkiDer).toEqual(made.spkiDer)
    const key = createPublicKey({ key: made.spkiDer, format: 'der', type: 'spki' })
    // r and s lose their leading zeros now and then
    for (let n = 0; n < 300; n += 1) {
      const data = Buffer.from(`to be signed ${n}`)
      expect(verify('sha256', data, key, await again.sign(data))).toBe(true)
    }
    expect(readdirSync(dir)).toEqual(['keys.json'])
  })

  it('keeps the private half on the token', async () => {
    choose('issuing token')
    await (await open()).create('issuing')
    const pkcs11 = createRequire(import.meta.url)('pkcs11js') as typeof import('pkcs11js')
    const module = new pkcs11.PKCS11(SOFTHSM)
    const [slot] = module
      .C_GetSlotList(true)
      .filter((each) => module.C_GetTokenInfo(each).label.trimEnd() === 'issuing token')
    const session = module.C_OpenSession(slot!, pkcs11.CKF_SERIAL_SESSION)
    module.C_FindObjectsInit(session, [{ type: pkcs11.CKA_CLASS, value: pkcs11.CKO_PRIVATE_KEY }])
    const keys = module.C_FindObjects(session, 100)
    module.C_FindObjectsFinal(session)
    expect(keys.length).toBeGreaterThan(0)
    for (const key of keys) {
      expect(() => module.C_GetAttributeValue(session, key, [{ type: pkcs11.CKA_VALUE }])).toThrow(/CKR_/)
      const [extractable] = module.C_GetAttributeValue(session, key, [{ type: pkcs11.CKA_EXTRACTABLE }])
      expect(Buffer.from(extractable!.value)).toEqual(Buffer.from([0]))
    }
    module.C_CloseSession(session)
  })

  it('signs many at once, one after the other', async () => {
    choose('issuing token')
    const key = await (await open()).create('issuing')
    const publicKey = createPublicKey({ key: key.spkiDer, format: 'der', type: 'spki' })
    const all = Array.from({ length: 50 }, (_, n) => Buffer.from(`${n}`))
    const signatures = await Promise.all(all.map((data) => key.sign(data)))
    expect(signatures.every((each, n) => verify('sha256', all[n]!, publicKey, each))).toBe(true)
  })

  it('opens a lost session once more', async () => {
    choose('issuing token')
    const key = await (await open()).create('issuing')
    const publicKey = createPublicKey({ key: key.spkiDer, format: 'der', type: 'spki' })
    const pkcs11 = createRequire(import.meta.url)('pkcs11js') as typeof import('pkcs11js')
    const module = new pkcs11.PKCS11(SOFTHSM)
    for (const slot of module.C_GetSlotList(true)) module.C_CloseAllSessions(slot)
    const data = Buffer.from('after the loss')
    expect(verify('sha256', data, publicKey, await key.sign(data))).toBe(true)
  })

  it('keeps keys of two CAs on one token apart, and destroys only its own', async () => {
    choose('issuing token')
    const one = await open()
    const first = await one.create('issuing')
    await one.create('issuing-4f21')
    choose('issuing token')
    const other = await open()
    await expect(other.open('issuing')).rejects.toMatchObject({ code: 'CA_KEY_MISSING' })
    expect((await other.create('issuing')).spkiDer).not.toEqual(first.spkiDer)
    await other.destroy('issuing')
    expect(await other.list('issuing')).toEqual([])
    expect(await one.list('issuing')).toEqual(['issuing', 'issuing-4f21'])
    await expect(one.create('issuing')).rejects.toMatchObject({ code: 'CA_KEY_EXISTS' })
  })

  it('leaves the root in its file, or puts it on a token of its own', async () => {
    choose('issuing token')
    await (await open()).create('root')
    expect(readdirSync(dir)).toContain('root.key.pem')
    rmSync(path.join(dir, 'root.key.pem'))
    choose('issuing token', 'root token')
    const store = await open({ root: PIN, issuing: null })
    await store.create('root')
    expect(await store.open('root')).toBeDefined()
    expect(readdirSync(dir)).toEqual(['keys.json'])
  })

  it('tries a wrong PIN once, and never again', async () => {
    choose('issuing token')
    const store = await open({ root: null, issuing: '000000' })
    const refused = async (): Promise<unknown> => store.open('issuing').catch((error: unknown) => error)
    const first = await refused()
    expect(first).toMatchObject({ code: 'PKCS11_PIN_WRONG' })
    // the same refusal, not a second one
    expect(await refused()).toBe(first)
    await expect((await open({ root: null, issuing: null })).open('issuing')).rejects.toMatchObject({
      code: 'PASSPHRASE_MISSING',
    })
  })

  it('names what is missing: the module, the token, which of two tokens', async () => {
    const at = (module: string, token: string) => openToken({ module, token }, PIN)
    await expect(at('/nowhere/module.so', 'x')).rejects.toMatchObject({ code: 'PKCS11_MODULE_MISSING' })
    await expect(at('/etc/hostname', 'x')).rejects.toMatchObject({ code: 'PKCS11_MODULE_MISSING' })
    await expect(at(SOFTHSM, 'unknown')).rejects.toMatchObject({ code: 'PKCS11_TOKEN_MISSING' })
    await expect(at(SOFTHSM, 'twin')).rejects.toMatchObject({ code: 'PKCS11_TOKEN_MISSING' })
  })
})
