// The certificates of a mesh made by the CLI, before verifiers that we did not write: OpenSSL, GnuTLS, NSS and Python always, Java, Go
// and zlint where they are installed. Each must accept every right certificate for both usages, and refuse every control.

import { X509Certificate } from 'node:crypto'
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import path from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { makeHierarchy } from '../../certs-dev/hierarchy.js'
import { makeWrongLeaves } from '../../certs-dev/wrong-leaves.js'
import { type CliHome, type Finished, until } from '../support/cli-home.js'
import {
  type CliMesh,
  type EchoApp,
  openCliMesh,
  openEchoApp,
  POLICY,
  pushPolicy,
  type StartedSidecar,
} from '../support/cli-mesh.js'
import { hierarchyOfHome } from '../support/hierarchy-of-home.js'
import { type Case, chainOfServer, writeCases } from './verifiers/cases.js'
import {
  checkRan,
  gnutls,
  go,
  java,
  nssDatabase,
  nssPkix,
  openNss,
  openssl,
  type Verdicts,
  zlint,
} from './verifiers/verifiers.js'

let mesh: CliMesh
let app: EchoApp
let tickets: StartedSidecar
let cases: Case[]

beforeAll(async () => {
  // without --dev: the root that a real mesh has
  const passphrase = (home: string, name: string): string => {
    const file = path.join(home, `${name}.pass`)
    writeFileSync(file, `a passphrase of the ${name}\n`, { mode: 0o600 })
    return file
  }
  mesh = await openCliMesh((home) => {
    const issuing = ['--passphrase-file', passphrase(home, 'issuing')]
    return { init: [...issuing, '--root-passphrase-file', passphrase(home, 'root')], up: issuing }
  })
  const { home } = mesh
  app = await openEchoApp()
  for (const name of ['planner', 'tickets']) await home.ok('agent', 'add', name)
  await pushPolicy(home, POLICY)
  tickets = await mesh.sidecar('tickets', ['--app', `127.0.0.1:${app.port}`])
  await home.ok('cert', 'issue', 'planner', '--out', at('client'))
  writeFileSync(at('ann.token'), await home.ok('token', 'ann', '--kind', 'operator'), { mode: 0o600 })
  await home.ok('operator', 'enrol', 'ann', '--token', `file:${at('ann.token')}`)
  mkdirSync(at('cases'))
  const read = (file: string): string => readFileSync(at(file), 'utf8')
  cases = await writeCases(
    at('cases'),
    { dir: home.dir, passphraseFile: at('issuing.pass') },
    {
      agent: read('agents/tickets/svid.pem'),
      'foreign-client': read('client/cert.pem'),
      operator: read('operators/ann/svid.pem'),
      collector: read('collector/svid.pem'),
      'ca-server': await chainOfServer(mesh.caPort, at('ca/root.pem')),
    },
  )
  writeFileSync(
    at('other-root.pem'),
    (await makeHierarchy({ trustDomain: 'acme.internal', dev: false })).rootPem,
  )
})

afterAll(async () => {
  await mesh[Symbol.asyncDispose]()
  await app[Symbol.asyncDispose]()
})

const at = (file: string): string => path.join(mesh.home.dir, file)

type Judge = (home: CliHome, cases: readonly Case[]) => Promise<Verdicts>

const told = (asked: readonly Case[], verdicts: Verdicts): string[] =>
  asked.map(
    ({ name, usage }, index) => `${name} as ${usage}: ${verdicts[index] === true ? 'accepted' : 'refused'}`,
  )

/** Accepts what is right and refuses what is not; under another root it accepts nothing. */
async function checkVerifier(judge: Judge, asked: readonly Case[] = cases): Promise<void> {
  const wanted = asked.map(({ isRight }) => isRight)
  expect(told(asked, await judge(mesh.home, asked))).toEqual(told(asked, wanted))
  const elsewhere = asked
    .filter(({ isRight }) => isRight)
    .map((each) => ({ ...each, root: at('other-root.pem') }))
  expect(await judge(mesh.home, elsewhere)).toEqual(elsewhere.map(() => false))
}

/** NSS lets a certificate begin a day later (its default slop), so a leaf of tomorrow is no control for it. */
const withoutTomorrow = (): Case[] => cases.filter(({ name }) => name !== 'not-yet-valid')

/** For programs that a developer's machine may lack. */
async function isHere(program: string, ...args: string[]): Promise<boolean> {
  return (await mesh.home.run(program, args)).code === 0
}

describe('every certificate of the mesh is right for both usages, and every control is refused, by', () => {
  it('openssl verify -x509_strict', () => checkVerifier(openssl))
  it('GnuTLS certtool', () => checkVerifier(gnutls))
  it('NSS certutil', () => checkVerifier(nssDatabase, withoutTomorrow()))
  it('NSS vfychain', () => checkVerifier(nssPkix, withoutTomorrow()))

  it('Java PKIX, where a JDK is', async (context) => {
    if (!(await isHere('javac', '-version'))) context.skip('no JDK here: apt install default-jdk-headless')
    await checkVerifier(java)
  })

  it('Go crypto/x509, where Go is', async (context) => {
    if (!(await isHere('go', 'version'))) context.skip('no Go here: apt install golang-go')
    await checkVerifier(go)
  })

  it('zlint, where it is', async (context) => {
    if (!(await isHere('zlint', '-version'))) context.skip('no zlint here: Debian has it from 13 on')
    for (const { name, leaf, above } of cases.filter(({ isRight, usage }) => isRight && usage === 'client'))
      for (const file of [leaf, ...above]) expect([name, await zlint(mesh.home, file)]).toEqual([name, []])
    expect(await zlint(mesh.home, at('ca/root.pem'))).toEqual([])
    const control = at('key-usage-not-critical.pem')
    const wrong = await makeWrongLeaves(hierarchyOfHome(mesh.home.dir, at('issuing.pass')), 'planner')
    writeFileSync(
      control,
      String(wrong.find(({ name }) => name === 'key-usage-not-critical')?.leaf.certificate),
    )
    expect(await zlint(mesh.home, control)).toContain('w_ext_key_usage_not_critical')
  })
})

describe('the revocation lists, as anybody fetches them over plain HTTP, let the revoked leaf alone be refused by', () => {
  const lists = { root: '', issuing: '' }
  const leaf = { good: '', revoked: '' }
  const run = (program: string, ...args: string[]): Promise<Finished> =>
    mesh.home.run(program, args).then((finished) => checkRan(program, finished))

  /** DER as it is served; PEM beside it for those that read no other. */
  const fetchList = async (name: 'root' | 'issuing'): Promise<string> => {
    const answer = await fetch(`http://127.0.0.1:${mesh.caPort}/crl/${name}.crl`)
    expect([answer.status, answer.headers.get('content-type')]).toEqual([200, 'application/pkix-crl'])
    writeFileSync(at(`${name}.crl`), Buffer.from(await answer.arrayBuffer()))
    lists[name] = at(`${name}.crl.pem`)
    const { stdout } = await run(
      'openssl',
      ...['crl', '-inform', 'DER', '-in', at(`${name}.crl`), '-out', lists[name], '-text'],
    )
    return stdout + readFileSync(lists[name], 'utf8')
  }

  beforeAll(async () => {
    await mesh.home.ok('cert', 'issue', 'doomed', '--out', at('doomed'))
    for (const [what, dir] of [
      ['good', 'client'],
      ['revoked', 'doomed'],
    ] as const) {
      leaf[what] = at(`${dir}/leaf.pem`)
      writeFileSync(leaf[what], new X509Certificate(readFileSync(at(`${dir}/cert.pem`))).toString())
    }
    const serial = new X509Certificate(readFileSync(leaf.revoked)).serialNumber
    await mesh.home.ok('cert', 'revoke', serial.toLowerCase(), '--yes')
    await fetchList('root')
    await until('the list with the revoked one', async () =>
      (await fetchList('issuing')).includes(serial) ? true : undefined,
    )
    writeFileSync(at('both.crl.pem'), readFileSync(lists.root, 'utf8') + readFileSync(lists.issuing, 'utf8'))
  })

  it('openssl verify -crl_check_all, which wants both lists', async () => {
    const verify = (crls: string, which: string): Promise<Finished> =>
      run(
        'openssl',
        ...['verify', '-x509_strict', '-crl_check_all', '-CRLfile', crls, '-CAfile', at('ca/root.pem')],
        ...['-untrusted', at('ca/issuing.pem'), which],
      )
    expect((await verify(at('both.crl.pem'), leaf.good)).code).toBe(0)
    const refused = await verify(at('both.crl.pem'), leaf.revoked)
    expect([refused.code, /error 23 .*revoked/.test(refused.stderr)]).toEqual([2, true])
    expect((await verify(lists.issuing, leaf.good)).stderr).toContain('unable to get certificate CRL')
  })

  it('GnuTLS certtool', async () => {
    const verify = (chain: string): Promise<Finished> =>
      run(
        'certtool',
        ...['--verify', '--load-ca-certificate', at('ca/root.pem'), '--load-crl', at('both.crl.pem')],
        ...['--infile', chain],
      )
    expect((await verify(at('client/cert.pem'))).code).toBe(0)
    const refused = await verify(at('doomed/cert.pem'))
    expect([refused.code, /chain is revoked/.test(refused.stdout)]).toEqual([1, true])
    for (const [list, ca] of [
      [lists.root, 'ca/root.pem'],
      [lists.issuing, 'ca/issuing.pem'],
    ] as const)
      expect(
        (await run('certtool', '--verify-crl', '--load-ca-certificate', at(ca), '--infile', list)).code,
      ).toBe(0)
  })

  it('NSS, with the lists in its database', async () => {
    const db = await openNss(mesh.home, at('ca/root.pem'))
    await run('certutil', '-A', '-d', db, '-n', 'issuing', '-t', ',,', '-i', at('ca/issuing.pem'))
    for (const name of ['root', 'issuing'])
      expect((await run('crlutil', '-I', '-d', db, '-t', '1', '-i', at(`${name}.crl`))).code).toBe(0)
    expect((await run('vfychain', '-d', db, '-u', '0', '-a', leaf.good)).code).toBe(0)
    const refused = await run('vfychain', '-d', db, '-u', '0', '-a', leaf.revoked)
    expect([refused.code, /has been revoked/.test(refused.stdout + refused.stderr)]).toEqual([1, true])
  })
})

describe('a live handshake with an ingress, both sides verifying, by', () => {
  const identity = (): string[] => [at('client/cert.pem'), at('client/key.pem')]

  const python = async (root: string, name: string): Promise<string> => {
    const script = path.join(import.meta.dirname, 'verifiers/strict_client.py')
    const port = String(tickets.ports.ingress)
    return checkRan(
      'python3',
      await mesh.home.run('python3', [script, root, ...identity(), name, port]),
    ).stdout.trim()
  }

  it('Python’s ssl with VERIFY_X509_STRICT', async () => {
    expect(await python(at('ca/root.pem'), 'tickets.mesh')).toBe('200')
    expect(await python(at('other-root.pem'), 'tickets.mesh')).toMatch(/^refused: /)
    expect(await python(at('ca/root.pem'), 'planner.mesh')).toMatch(/^refused: .*mismatch/i)
  })

  const gnutlsClient = async (root: string, name: string): Promise<Finished> => {
    const [cert = '', key = ''] = identity()
    const trust = ['--x509cafile', root, '--sni-hostname', name, '--verify-hostname', name]
    const own = ['--x509certfile', cert, '--x509keyfile', key]
    const input = 'GET /tickets/1 HTTP/1.1\r\nHost: tickets.mesh\r\nConnection: close\r\n\r\n'
    const place = ['-p', String(tickets.ports.ingress), '127.0.0.1']
    return checkRan(
      'gnutls-cli',
      await mesh.home.run('gnutls-cli', [...trust, ...own, ...place], { input, holdInput: true }),
    )
  }

  it('gnutls-cli', async () => {
    const { stdout } = await gnutlsClient(at('ca/root.pem'), 'tickets.mesh')
    expect(stdout).toContain('Status: The certificate is trusted')
    expect(stdout).toContain('HTTP/1.1 200')
    for (const [root, name] of [
      [at('other-root.pem'), 'tickets.mesh'],
      [at('ca/root.pem'), 'planner.mesh'],
    ] as const) {
      const refused = await gnutlsClient(root, name)
      expect(refused.code).not.toBe(0)
      expect(refused.stdout).not.toContain('HTTP/1.1')
    }
  })

  it('openssl s_client with -x509_strict', async () => {
    const handshake = async (root: string): Promise<Finished> => {
      const [cert = '', key = ''] = identity()
      const trust = [
        '-verify_return_error',
        '-x509_strict',
        '-verify_hostname',
        'tickets.mesh',
        '-CAfile',
        root,
      ]
      const place = ['-connect', `127.0.0.1:${tickets.ports.ingress}`, '-servername', 'tickets.mesh']
      const input = 'GET /tickets/1 HTTP/1.1\r\nHost: tickets.mesh\r\nConnection: close\r\n\r\n'
      const own = ['-cert', cert, '-cert_chain', cert, '-key', key]
      return checkRan(
        'openssl',
        await mesh.home.run('openssl', ['s_client', ...trust, ...own, ...place], { input, holdInput: true }),
      )
    }
    expect((await handshake(at('ca/root.pem'))).stdout).toContain('HTTP/1.1 200')
    expect((await handshake(at('other-root.pem'))).stdout).not.toContain('HTTP/1.1')
  })
})
