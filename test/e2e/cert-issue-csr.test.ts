// `troth cert issue --csr`: requests as openssl makes them, the ones that are signed and the ones that are not, each with its code.

import { existsSync } from 'node:fs'
import path from 'node:path'
import { expect, it } from 'vitest'
import { freePort, jsonLines, openCliHome } from '../support/cli-home.js'

it('signs the request of a foreign client, and says what is wrong with one that it does not sign', async () => {
  await using home = openCliHome()
  await home.ok('init', '--trust-domain', 'acme.internal', '--dev')
  const ca = home.start('ca', 'serve', '--dev', '--ca-port', String(await freePort()))
  await ca.says(/CA ready/)
  const at = (name: string): string => path.join(home.dir, name)
  const openssl = async (...args: string[]): Promise<void> => {
    const { code, stderr } = await home.run('openssl', args)
    expect(code, stderr).toBe(0)
  }
  const request = async (
    name: string,
    key: readonly string[],
    more: readonly string[] = [],
  ): Promise<string> => {
    await openssl('genpkey', ...key, '-out', at(`${name}.key`))
    await openssl(
      'req',
      '-new',
      '-key',
      at(`${name}.key`),
      '-subj',
      `/CN=${name}`,
      ...more,
      '-out',
      at(`${name}.csr`),
    )
    return at(`${name}.csr`)
  }
  const RSA = (bits: number): string[] => ['-algorithm', 'RSA', '-pkeyopt', `rsa_keygen_bits:${bits}`]
  const EC = ['-algorithm', 'EC', '-pkeyopt', 'ec_paramgen_curve:P-256']

  const rsa = await request('legacy', RSA(2048))
  const issued = await home.ok('cert', 'issue', 'legacy', '--csr', rsa, '--out', at('legacy'), '--json')
  expect(jsonLines(issued)[0]).toMatchObject({ id: 'spiffe://acme.internal/agent/legacy' })
  expect(existsSync(at('legacy/key.pem'))).toBe(false)
  await openssl(
    'verify',
    '-x509_strict',
    '-CAfile',
    at('legacy/bundle.pem'),
    '-untrusted',
    at('legacy/cert.pem'),
    at('legacy/cert.pem'),
  )
  // nothing is overwritten
  const again = await home.troth('cert', 'issue', 'legacy', '--csr', rsa, '--out', at('legacy'))
  expect(again.stderr).toContain('CONFIG_EXISTS')

  const refused = async (name: string, csr: string, code: string): Promise<string> => {
    const { stderr, code: exit } = await home.troth('cert', 'issue', name, '--csr', csr, '--out', at(name))
    expect(stderr, name).toContain(`(${code})`)
    expect(exit).toBe(code.startsWith('CSR_') ? 1 : 3)
    expect(existsSync(at(`${name}/cert.pem`))).toBe(false)
    return stderr
  }
  await refused('short', await request('short', RSA(1024)), 'CSR_KEY_UNSUPPORTED')
  const edwards = await request('edwards', ['-algorithm', 'ED25519'])
  expect(await refused('edwards', edwards, 'CSR_KEY_UNSUPPORTED')).toContain('--allow-ed25519')
  await home.ok('cert', 'issue', 'edwards', '--csr', edwards, '--allow-ed25519', '--out', at('edwards'))
  const greedy = await request('greedy', EC, [
    '-addext',
    'subjectAltName=URI:spiffe://acme.internal/operator/root',
  ])
  await refused('greedy', greedy, 'CSR_NOT_ALLOWED')
  await refused('key', at('legacy.key'), 'CSR_INVALID')
  await refused('nothing', at('no-such-file'), 'CONFIG_MISSING')

  const audit = jsonLines(await home.ok('audit', 'query', '--ca', '--json', '--dev'))
  const outcomes = audit
    .filter(({ operation }) => operation === 'cert.issue')
    .map(({ object, reason }) => [object, reason])
  expect(outcomes).toEqual([
    ['spiffe://acme.internal/agent/legacy', 'OK'],
    ['spiffe://acme.internal/agent/short', 'CSR_KEY_UNSUPPORTED'],
    ['spiffe://acme.internal/agent/edwards', 'CSR_KEY_UNSUPPORTED'],
    ['spiffe://acme.internal/agent/edwards', 'OK'],
    ['spiffe://acme.internal/agent/greedy', 'CSR_NOT_ALLOWED'],
    ['spiffe://acme.internal/agent/key', 'CSR_INVALID'],
  ])
})
