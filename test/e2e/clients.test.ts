// Clients we did not write, through the built programs: curl, openssl, Python, requests.

import { appendFileSync, readFileSync } from 'node:fs'
import https, { type Server } from 'node:https'
import type { AddressInfo } from 'node:net'
import path from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { issueLeaf } from '../../certs-dev/hierarchy.js'
import { jsonLines, until } from '../support/cli-home.js'
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

let mesh: CliMesh
let app: EchoApp
let outside: Server
let planner: StartedSidecar
let tickets: StartedSidecar

beforeAll(async () => {
  mesh = await openCliMesh()
  app = await openEchoApp()
  await mesh.home.ok('agent', 'add', 'planner')
  await mesh.home.ok('agent', 'add', 'tickets')
  await pushPolicy(mesh.home, POLICY)
  tickets = await mesh.sidecar('tickets', ['--app', `127.0.0.1:${app.port}`])
  outside = await openOutside()
  appendFileSync(path.join(mesh.home.dir, 'config.yaml'), `egress.tunnels: 127.0.0.1:${portOf(outside)}\n`)
  planner = await mesh.sidecar('planner')
})

afterAll(async () => {
  await mesh[Symbol.asyncDispose]()
  await app[Symbol.asyncDispose]()
  outside.close()
})

/** An HTTPS server that is no agent. */
async function openOutside(): Promise<Server> {
  const { keyPem, chainPem } = await issueLeaf(
    hierarchyOfHome(mesh.home.dir),
    'spiffe://acme.internal/agent/outside',
  )
  const server = https.createServer({ key: keyPem, cert: chainPem }, (_request, response) =>
    response.end('from outside'),
  )
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  return server
}

const portOf = (server: Server): number => (server.address() as AddressInfo).port

const curl = (...args: string[]) => mesh.home.run('curl', ['-sS', '--max-time', '20', ...args])
const door = (): string => `http://127.0.0.1:${planner.ports.egress}`
const credential = (): string[] => ['-H', `x-troth-local-credential: ${planner.credential()}`]

describe('curl at the local door', () => {
  it('reaches the callee in the path form', async () => {
    const { stdout } = await curl(...credential(), `${door()}/@tickets/tickets/1`)
    expect(JSON.parse(stdout)).toMatchObject({
      url: '/tickets/1',
      caller: 'spiffe://acme.internal/agent/planner',
    })
  })

  it('reaches the callee as a forward proxy', async () => {
    const { stdout } = await curl(
      '-x',
      `http://any:${planner.credential()}@127.0.0.1:${planner.ports.egress}`,
      'http://tickets.mesh/tickets/2?x=1',
    )
    expect(JSON.parse(stdout)).toMatchObject({ url: '/tickets/2?x=1' })
  })

  it('reaches an allowed host outside the mesh through a tunnel, and no other', async () => {
    const proxy = ['-x', `http://any:${planner.credential()}@127.0.0.1:${planner.ports.egress}`]
    const trusted = ['--cacert', path.join(mesh.home.dir, 'ca', 'root.pem')]
    const to = `outside.mesh:443:127.0.0.1:${portOf(outside)}`
    const { stdout } = await curl(...proxy, ...trusted, '--connect-to', to, 'https://outside.mesh/')
    expect(stdout).toBe('from outside')
    const refused = await mesh.home.run('curl', ['-sS', ...proxy, 'https://example.org/'])
    expect([refused.code, refused.stderr]).toEqual([56, expect.stringContaining('403')])
    const operation = `CONNECT 127.0.0.1:${portOf(outside)}`
    const row = await until('the tunnel in the ledger', async () =>
      jsonLines(await mesh.home.ok('audit', 'query', '--json', '--agent', 'planner')).find(
        (each) => each['operation'] === operation && each['outcome'] === 'completed',
      ),
    )
    expect(row).toMatchObject({ decision: 'permit', callee: null, status: 200 })
  })

  it('reaches the callee with the credential in the path', async () => {
    const { stdout } = await curl(`${door()}/~${planner.credential()}/@tickets/tickets/3`)
    expect(JSON.parse(stdout)).toMatchObject({ url: '/tickets/3' })
  })

  it('is asked for the local credential without one', async () => {
    const { stdout } = await curl(`${door()}/@tickets/tickets/1`)
    expect(JSON.parse(stdout)).toMatchObject({ code: 'LOCAL_CREDENTIAL_REQUIRED' })
  })

  it('is told the missing scope and the lines that would grant it', async () => {
    const { stdout } = await curl('-X', 'DELETE', ...credential(), `${door()}/@tickets/tickets/1`)
    const problem = JSON.parse(stdout) as Record<string, unknown>
    expect(problem).toMatchObject({ code: 'POLICY_SCOPE_MISSING', missing: 'tickets:delete', status: 403 })
    expect(problem['policy']).toContain('tickets:delete')
    const why = await mesh.home.ok('why', String(problem['callId']))
    expect(why).toContain('tickets:delete')
  })

  it('is told that a callee is offline when it holds a grant on it, and unknown when it does not', async () => {
    const ask = async (name: string): Promise<unknown> =>
      (JSON.parse((await curl(...credential(), `${door()}/@${name}/x`)).stdout) as { code: unknown }).code
    expect(await ask('absent')).toBe('CALLEE_OFFLINE')
    expect(await ask('nobody')).toBe('CALLEE_UNKNOWN')
  })

  it('is refused as a tunnel', async () => {
    const { code, stderr } = await curl(
      '-x',
      `http://a:${planner.credential()}@127.0.0.1:${planner.ports.egress}`,
      'https://example.org/',
    )
    expect(code).not.toBe(0)
    expect(stderr).toContain('403')
  })

  it('uploads and gets a body back whole', async () => {
    const { stdout } = await mesh.home.run(
      'curl',
      ['-sS', '--data-binary', '@-', ...credential(), `${door()}/@tickets/tickets/9`],
      { input: 'x'.repeat(3_000_000) },
    )
    expect(JSON.parse(stdout)).toMatchObject({ method: 'POST', length: 3_000_000 })
  })
})

describe('clients with a certificate at the ingress', () => {
  const files = (): { dir: string; key: string; cert: string; bundle: string } => {
    const dir = path.join(mesh.home.dir, 'reporter')
    return {
      dir,
      key: path.join(dir, 'key.pem'),
      cert: path.join(dir, 'cert.pem'),
      bundle: path.join(dir, 'bundle.pem'),
    }
  }

  it('curl with `cert issue` is served, and its caller is in the ledger', async () => {
    await mesh.home.ok('agent', 'add', 'reporter')
    await pushPolicy(
      mesh.home,
      POLICY.replace('services:', '  - {id: agent/reporter, scopes: [tickets:read]}\nservices:'),
    )
    await mesh.home.ok('cert', 'issue', 'reporter', '--out', files().dir)
    const { cert, key, bundle } = files()
    const answer = await until('the new policy', async () => {
      const { stdout } = await curl(
        ...[
          '--cert',
          cert,
          '--key',
          key,
          '--cacert',
          bundle,
          '--resolve',
          `tickets.mesh:${tickets.ports.ingress}:127.0.0.1`,
        ],
        `https://tickets.mesh:${tickets.ports.ingress}/tickets/7`,
      )
      return stdout.includes('"url"') ? stdout : undefined
    })
    expect(JSON.parse(answer)).toMatchObject({ caller: 'spiffe://acme.internal/agent/reporter' })
    const rows = jsonLines(
      await mesh.home.ok(
        'audit',
        'query',
        '--json',
        '--ledger',
        path.join(mesh.home.dir, 'agents/tickets/ledger.db'),
      ),
    )
    expect(rows).toContainEqual(
      expect.objectContaining({
        caller: 'spiffe://acme.internal/agent/reporter',
        operation: 'GET /tickets/7',
        outcome: 'completed',
      }),
    )
  })

  it('openssl s_client verifies the sidecar and is turned away without a certificate', async () => {
    const { stdout, stderr } = await mesh.home.run(
      'openssl',
      [
        's_client',
        '-connect',
        `127.0.0.1:${tickets.ports.ingress}`,
        '-CAfile',
        files().bundle,
        '-verify_return_error',
        '-x509_strict',
        '-servername',
        'tickets.mesh',
        '-ign_eof',
      ],
      { input: 'GET /tickets/1 HTTP/1.1\r\nHost: tickets.mesh\r\n\r\n' },
    )
    expect(stdout + stderr).toContain('Verify return code: 0 (ok)')
    expect(stdout).toContain('PEER_NO_CERTIFICATE')
    const rows = await until('the refusal in the ledger', async () => {
      const found = jsonLines(
        await mesh.home.ok(
          'audit',
          'query',
          '--json',
          '--suspicious',
          '--ledger',
          path.join(mesh.home.dir, 'agents/tickets/ledger.db'),
        ),
      )
      return found.some((row) => row['kind'] === 'refusal') ? found : undefined
    })
    expect(rows).toContainEqual(expect.objectContaining({ kind: 'refusal', reason: 'PEER_NO_CERTIFICATE' }))
  })
})

describe('Python', () => {
  it('http.client speaks to the local door', async () => {
    const script = `
import http.client, os
c = http.client.HTTPConnection("127.0.0.1", ${planner.ports.egress})
c.request("GET", "/@tickets/tickets/4", headers={"x-troth-local-credential": os.environ["CREDENTIAL"]})
r = c.getresponse(); print(r.status, r.read().decode())`
    const { stdout } = await mesh.home.run('python3', ['-c', script], {
      env: { CREDENTIAL: planner.credential() },
    })
    expect(stdout).toMatch(/^200 .*"\/tickets\/4"/)
  })

  it('requests goes through the forward-proxy form, and an SSE reader gets events as they happen', async () => {
    const script = `
import os, requests
s = requests.Session()
s.proxies = {"http": "http://agent:%s@127.0.0.1:${planner.ports.egress}" % os.environ["CREDENTIAL"]}
s.trust_env = False
print(s.get("http://tickets.mesh/tickets/5").json()["url"])
with s.get("http://tickets.mesh/events", stream=True, timeout=10) as r:
    seen = [line for _, line in zip(range(6), r.iter_lines(chunk_size=1))]
print([l.decode() for l in seen if l])`
    // Debian's requests belongs to Debian's python, not to whichever python3 comes first.
    const { stdout, stderr } = await mesh.home.run('/usr/bin/python3', ['-c', script], {
      env: { CREDENTIAL: planner.credential() },
    })
    expect(stderr).toBe('')
    expect(stdout).toContain('/tickets/5')
    expect(stdout).toContain("['data: 1', 'data: 2', 'data: 3']")
  })
})

describe('the mesh as a whole', () => {
  it('ships both halves of a call to the collector', async () => {
    const rows = await until('both halves', async () => {
      const found = jsonLines(
        await mesh.home.ok(
          'audit',
          'query',
          '--json',
          '--ledger',
          path.join(mesh.home.dir, 'collector/ledger.db'),
        ),
      )
      const halves = found.filter(
        (row) => row['operation'] === 'GET /tickets/1' && row['decision'] === 'permit',
      )
      return halves.some((row) => row['direction'] === 'egress') &&
        halves.some((row) => row['direction'] === 'ingress')
        ? halves
        : undefined
    })
    expect(new Set(rows.map((row) => row['callId'])).size).toBeLessThan(rows.length)
  })

  it('never shows a secret in its output', () => {
    const everything = mesh.up.output() + planner.running.output() + tickets.running.output()
    expect(everything).not.toContain(planner.credential())
    expect(everything).not.toContain('PRIVATE KEY')
    expect(readFileSync(path.join(mesh.home.dir, 'agents/planner/key.pem'), 'utf8')).toContain('PRIVATE KEY')
  })

  it('revokes: the live stream is cut, new calls are refused, and the ledger says why', async () => {
    const stream = mesh.home.spawn('curl', ['-sSN', ...credential(), `${door()}/@tickets/events`])
    await stream.says(/data: 2/)
    const revoked = JSON.parse(await mesh.home.ok('revoke', 'planner', '--wait', '--json')) as {
      applied: number
      expected: number
      cut: number
    }
    expect(revoked.applied).toBe(revoked.expected)
    await stream.ended
    const rows = await until('the cut in the ledger', async () => {
      const found = jsonLines(
        await mesh.home.ok(
          'audit',
          'query',
          '--json',
          '--ledger',
          path.join(mesh.home.dir, 'agents/tickets/ledger.db'),
        ),
      )
      return found.filter((row) => row['operation'] === 'GET /events').find((row) => row['outcome'] === 'cut')
    })
    expect(rows).toMatchObject({ outcome: 'cut' })
    expect(String(rows['reason'])).toMatch(/PEER_REVOKED|OK/)
    const { stdout } = await curl(...credential(), `${door()}/@tickets/tickets/1`)
    expect(JSON.parse(stdout)).toMatchObject({ code: 'SELF_REVOKED' })
  })
})
