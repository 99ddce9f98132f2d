import { execFileSync } from 'node:child_process'
import { readFileSync, statSync, writeFileSync } from 'node:fs'
import path from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { type CliHome, freePort, jsonLines, openCliHome, until } from '../support/cli-home.js'

let home: CliHome
let port: number
const at = (...parts: string[]): string => path.join(home.dir, ...parts)

/** Whether this machine has a program. */
const has = (program: string): boolean => {
  try {
    execFileSync('sh', ['-c', `command -v ${program}`], { stdio: 'ignore' })
    return true
  } catch {
    return false
  }
}

beforeAll(async () => {
  home = openCliHome()
  port = await freePort()
  await home.ok('init', '--trust-domain', 'acme.internal', '--dev')
  await home.start('ca', 'serve', '--ca-port', String(port)).says(/CA ready/)
  await home.ok('cert', 'issue', 'nightly-job', '--out', at('job'))
  writeFileSync(at('secret'), 'correct horse battery\n', { mode: 0o600 })
})
afterAll(() => home[Symbol.asyncDispose]())

describe('revocation lists and the trust bundle, from the command line', () => {
  it('refuse a certificate to openssl as soon as it is revoked, fetched over plain HTTP or by troth', async () => {
    await home.ok('cert', 'issue', 'stolen', '--out', at('stolen'))
    const verify = async (who: string): Promise<string> => {
      await home.ok('ca', 'crl', '--out', at('crls.pem'))
      await home.ok('ca', 'bundle')
      const chain = at(who, 'cert.pem')
      const args = ['-x509_strict', '-crl_check_all', '-CRLfile', at('crls.pem')]
      const trust = ['-CAfile', at(who, 'bundle.pem'), '-untrusted', chain, chain]
      const { stdout, stderr } = await home.run('openssl', ['verify', ...args, ...trust])
      return stdout + stderr
    }
    expect(await verify('stolen')).toContain(': OK')
    await home.ok('revoke', 'stolen', '--reason', 'keyCompromise: laptop')
    const text = await until('the list names it', async () => {
      const said = await home.ok('ca', 'crl', '--issuer', 'issuing', '--text')
      return said.includes('Reason: keyCompromise') ? said : undefined
    })
    const { serial } = jsonLines(await home.ok('cert', 'show', at('stolen', 'cert.pem'), '--json'))[0] ?? {}
    expect(text).toContain(`Serial Number: ${String(serial)}`)
    expect(await verify('stolen')).toContain('certificate revoked')
    expect(await verify('job')).toContain(': OK')
    const answer = await fetch(`http://127.0.0.1:${port}/crl/issuing.crl`)
    await home.ok('ca', 'crl', '--der', '--out', at('issuing.crl'))
    expect(Buffer.from(await answer.arrayBuffer()).equals(readFileSync(at('issuing.crl')))).toBe(true)
  })

  it('come as PEM or as SPIFFE bundle, and say what there is', async () => {
    expect(await home.ok('ca', 'bundle')).toBe(readFileSync(at('ca', 'root.pem'), 'utf8'))
    const bundle = JSON.parse(await home.ok('ca', 'bundle', '--format', 'spiffe')) as {
      keys: { use: string }[]
    }
    expect(bundle.keys.map(({ use }) => use)).toEqual(['x509-svid'])
    expect(jsonLines(await home.ok('ca', 'crl', '--json')).map(({ usage }) => usage)).toEqual([
      'root',
      'issuing',
    ])
    expect((await home.troth('ca', 'crl', '--der')).code).toBe(2)
    expect((await home.troth('ca', 'crl', '--issuer', 'nobody')).stderr).toContain('ca crl --json')
  })
})

describe('troth cert show', () => {
  it('answers whose, what for, until when and whether it counts, of a serial and of a file', async () => {
    const file = await home.ok('cert', 'show', at('job', 'cert.pem'))
    expect(file).toMatch(/^id +spiffe:\/\/acme.internal\/agent\/nightly-job$/m)
    expect(file).toMatch(/^for +TLS as client and server$/m)
    expect(file).toMatch(/^until .*, in 23h/m)
    expect(file).toMatch(/^status +valid by its dates; only the CA knows/m)
    expect(file).toMatch(/^for +signing certificates \(issuing CA\)$/m)
    const serial = /^serial +(\w+)$/m.exec(file)?.[1] ?? ''
    const known = await home.ok('cert', 'show', serial.toUpperCase().replace(/(..)(?=.)/g, '$1:'))
    expect(known).toMatch(/^status +valid$/m)
    expect(known).toMatch(/^issued .* by issue$/m)
    expect(await home.ok('cert', 'show', serial, '--text')).toContain('Extended Key Usages')
    const pem = await home.ok('cert', 'show', serial, '--pem')
    expect(readFileSync(at('job', 'cert.pem'), 'utf8').startsWith(pem)).toBe(true)
    expect(jsonLines(await home.ok('cert', 'show', serial, '--json'))[0]?.['serial']).toBe(serial)
    const [revoked] = jsonLines(await home.ok('cert', 'list', 'stolen', '--json'))
    const shown = await home.ok('cert', 'show', String(revoked?.['serial']))
    expect(shown).toMatch(/^status +revoked$/m)
    expect(shown).toMatch(/^revoked .*: keyCompromise: laptop$/m)
  })

  it('says what is wrong with what it was given', async () => {
    writeFileSync(at('junk.pem'), 'junk')
    const wrong = [
      ['no-such', 2],
      ['./no-such.pem', 3],
      [at('junk.pem'), 4],
      ['abcdef', 1],
    ] as const
    for (const [what, code] of wrong)
      expect([what, (await home.troth('cert', 'show', what)).code]).toEqual([what, code])
  })
})

describe('troth cert export --p12', () => {
  it('writes a file of its owner that openssl opens with the passphrase, and nothing else', async () => {
    const p12 = at('job.p12')
    await home.ok('cert', 'export', at('job'), '--p12', p12, '--passphrase-file', at('secret'))
    expect(statSync(p12).mode & 0o777).toBe(0o600)
    const open = (pass: string): Promise<{ code: number | null; stdout: string; stderr: string }> =>
      home.run('openssl', ['pkcs12', '-in', p12, '-noenc', '-info', '-passin', pass])
    const good = await open(`file:${at('secret')}`)
    expect(good.stderr).toContain('PBES2, PBKDF2, AES-256-CBC')
    expect(good.stderr).toContain('MAC: sha256')
    expect(good.stdout.split('BEGIN CERTIFICATE').length - 1).toBe(3)
    const key = /-----BEGIN PRIVATE KEY-----[^-]+-----END PRIVATE KEY-----\n/.exec(good.stdout)?.[0]
    expect(key).toBe(readFileSync(at('job', 'key.pem'), 'utf8'))
    expect((await open('pass:wrong')).code).not.toBe(0)
    // it is there already, and stays as it is
    const again = await home.troth(
      'cert',
      'export',
      at('job'),
      '--p12',
      p12,
      '--passphrase-file',
      at('secret'),
    )
    expect(again.stderr).toContain('exists already')
  })

  it('refuses a key of another certificate, a passphrase nobody gave, and one that programs read differently', async () => {
    const pair = ['--key', at('job', 'key.pem'), '--cert', at('stolen', 'cert.pem')]
    const out = ['--p12', at('no.p12'), '--passphrase-file', at('secret')]
    const codeOf = async (...args: string[]): Promise<unknown> =>
      (JSON.parse((await home.troth('cert', 'export', ...args, '--json')).stderr) as { code: string }).code
    expect(await codeOf(...pair, ...out)).toBe('CERT_KEY_MISMATCH')
    expect(await codeOf(at('job'), '--p12', at('no.p12'))).toBe('PASSPHRASE_MISSING')
    writeFileSync(at('umlaut'), 'pässwörd\n', { mode: 0o600 })
    expect(await codeOf(at('job'), '--p12', at('no.p12'), '--passphrase-file', at('umlaut'))).toBe(
      'CONFIG_INVALID',
    )
    expect(await codeOf(at('job'), ...pair, ...out)).toBe('USAGE')
  })

  it.skipIf(!has('pk12util') || !has('certutil'))(
    'imports into the store of NSS, Firefox and Chromium',
    async () => {
      const db = `sql:${at('nss')}`
      await home.run('mkdir', [at('nss')])
      await home.run('certutil', ['-N', '-d', db, '--empty-password'])
      const { stdout, stderr } = await home.run('pk12util', [
        '-i',
        at('job.p12'),
        '-d',
        db,
        '-w',
        at('secret'),
        '-K',
        '',
      ])
      expect(stdout + stderr).toContain('IMPORT SUCCESSFUL')
      const listed = await home.run('certutil', ['-L', '-d', db])
      expect(listed.stdout).toMatch(/^nightly-job +u,u,u$/m)
      expect((await home.run('certutil', ['-K', '-d', db])).stdout).toMatch(/ec .*nightly-job/)
    },
  )

  it.skipIf(!has('keytool'))('imports into a Java keystore with its chain', async () => {
    const store = [
      '-destkeystore',
      at('java.p12'),
      '-deststoretype',
      'PKCS12',
      '-deststorepass:file',
      at('secret'),
    ]
    const from = [
      '-srckeystore',
      at('job.p12'),
      '-srcstoretype',
      'PKCS12',
      '-srcstorepass:file',
      at('secret'),
    ]
    const imported = await home.run('keytool', ['-importkeystore', '-noprompt', ...from, ...store])
    expect(imported.stderr).toContain('Entry for alias nightly-job successfully imported')
    const args = ['-list', '-v', '-keystore', at('java.p12'), '-storepass:file', at('secret')]
    const { stdout } = await home.run('keytool', args)
    expect(stdout).toContain('Entry type: PrivateKeyEntry')
    expect(stdout).toContain('Certificate chain length: 3')
  })
})
