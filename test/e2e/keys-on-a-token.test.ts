// From the command line: a CA whose issuing keys are on a PKCS#11 token (SoftHSM2) serves, issues, renews its lists, is backed up
// without them, and says what is wrong when module, token or PIN are.

import { type KeyObject, X509Certificate } from 'node:crypto'
import { readdirSync, readFileSync, writeFileSync } from 'node:fs'
import path from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { type CliHome, openCliHome } from '../support/cli-home.js'
import { makeSoftTokens, PIN, SOFTHSM, whyNoToken } from '../support/soft-token.js'

const why = whyNoToken()

describe.skipIf(why !== undefined)(why ?? 'a CA with its keys on a token', () => {
  let tokens: ReturnType<typeof makeSoftTokens>
  let home: CliHome
  const file = (name: string, text: string): string => {
    const where = path.join(home.dir, name)
    writeFileSync(where, `${text}\n`, { mode: 0o600 })
    return where
  }
  const codeOf = async (...args: string[]): Promise<string | undefined> => {
    const { code, stderr } = await home.troth('--json', ...args)
    if (code === 0) return undefined
    const line = stderr.split('\n').find((each) => each.startsWith('{"type"'))
    return (JSON.parse(line ?? '{}') as { code?: string }).code ?? stderr
  }

  beforeAll(() => {
    tokens = makeSoftTokens('troth ca', 'troth roots')
    home = openCliHome(tokens.env)
  })
  afterAll(async () => {
    await home[Symbol.asyncDispose]()
    tokens[Symbol.dispose]()
  })

  it('serves, issues, rotates and is backed up; a PIN is never in its files', async () => {
    const root = ['--root-passphrase-file', file('root-passphrase', 'root words')]
    const pin = ['--passphrase-file', file('pin', PIN)]
    const wrong = ['--passphrase-file', file('wrong', '000000')]
    const init = (module: string, token: string, secret: readonly string[]) =>
      codeOf(
        ...['init', '--trust-domain', 'acme.internal', '--pkcs11-module', module, '--pkcs11-token', token],
        ...secret,
        ...root,
      )
    expect(await init('/nowhere.so', 'troth ca', pin)).toBe('PKCS11_MODULE_MISSING')
    expect(await init(SOFTHSM, 'another', pin)).toBe('PKCS11_TOKEN_MISSING')
    expect(await init(SOFTHSM, 'troth ca', wrong)).toBe('PKCS11_PIN_WRONG')
    expect(await codeOf('init', '--trust-domain', 'acme.internal', '--pkcs11-token', 'troth ca')).toBe(
      'USAGE',
    )
    expect(readdirSync(home.dir).filter((name) => name.startsWith('ca'))).toEqual([])
    expect(await init(SOFTHSM, 'troth ca', pin)).toBeUndefined()
    const dir = path.join(home.dir, 'ca')
    expect(readdirSync(dir).sort()).toEqual(['ca.db', 'issuing.pem', 'keys.json', 'root.key.pem', 'root.pem'])
    expect(readFileSync(path.join(dir, 'keys.json'), 'utf8')).not.toContain(PIN)

    expect(await codeOf('ca', 'serve', '--ca-port', '0', ...wrong)).toBe('PKCS11_PIN_WRONG')
    const ca = home.start('ca', 'serve', '--ca-port', '0', ...pin)
    await ca.says(/CA ready/)
    await home.ok('cert', 'issue', 'planner', '--out', path.join(home.dir, 'issued'))
    const issued = readdirSync(path.join(home.dir, 'issued')).sort()
    expect(issued.length).toBeGreaterThan(0)
    const [one = ''] = issued.filter((name) => /cert|svid/.test(name))
    const verified = await home.run('openssl', [
      ...['verify', '-x509_strict', '-CAfile', path.join(dir, 'root.pem')],
      ...['-untrusted', path.join(dir, 'issuing.pem'), path.join(home.dir, 'issued', one)],
    ])
    expect(verified.stdout + verified.stderr).toContain('OK')
    expect((await home.ok('ca', 'crl')).length).toBeGreaterThan(0)
    const before = readFileSync(path.join(home.dir, 'issued', one), 'utf8')
    expect(await codeOf('ca', 'rotate', 'issuing', ...root, '--yes')).toBeUndefined()
    await home.ok('cert', 'issue', 'tickets', '--out', path.join(home.dir, 'later'))
    const issuers = [before, readFileSync(path.join(home.dir, 'later', one), 'utf8')].map(
      (pem) => new X509Certificate(pem.split(/(?<=-----END CERTIFICATE-----\n)/)[1] ?? '').publicKey,
    )
    expect(issuers[0]?.equals(issuers[1] as KeyObject)).toBe(false)
    expect(readdirSync(dir).filter((name) => name.endsWith('.key.pem'))).toEqual(['root.key.pem'])
    const backup = ['--passphrase-file', file('backup-passphrase', 'backup words')]
    const made = await home.ok('ca', 'backup', path.join(home.dir, 'x.backup'), '--json', ...backup)
    expect(JSON.parse(made)).toMatchObject({ keys: ['root.key.pem'], onToken: true })
    ca.kill('SIGTERM')
    await ca.ended
  })

  it('replaces issuing CA and root, each on a token of its own, and leaves no old key of a root', async () => {
    const pin = ['--passphrase-file', file('pin', PIN)]
    const root = ['--root-passphrase-file', file('root-pin', PIN)]
    const at = ['--home', path.join(home.dir, 'two')]
    await home.ok(
      ...[...at, 'init', '--trust-domain', 'acme.internal', '--pkcs11-module', SOFTHSM],
      ...['--pkcs11-token', 'troth ca', '--pkcs11-root-token', 'troth roots', ...pin, ...root],
    )
    const ca = home.start(...at, 'ca', 'serve', '--ca-port', '0', ...pin)
    await ca.says(/CA ready/)
    const rootFile = path.join(home.dir, 'two/ca/root.pem')
    const before = readFileSync(rootFile, 'utf8')
    expect(await home.ok(...at, 'ca', 'rotate', 'issuing', ...root)).toContain('the issuing CA is replaced')
    expect(readFileSync(rootFile, 'utf8')).toBe(before)
    const said = await home.troth(...at, 'ca', 'rotate', 'root', ...root)
    expect(said.stdout).toContain('the root CA is replaced')
    expect(said.stderr).toContain('the key of the old root is destroyed on its token')
    expect(readFileSync(rootFile, 'utf8')).not.toBe(before)
    // the new root's key is there: it signs the next
    expect(await home.ok(...at, 'ca', 'rotate', 'issuing', ...root)).toContain('the issuing CA is replaced')
    expect(ca.output()).not.toContain('ca.rotation_failed')
    ca.kill('SIGTERM')
    await ca.ended
  })
})
