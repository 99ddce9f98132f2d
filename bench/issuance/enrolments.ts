// Enrolments as members make them: a CA process started through the CLI, a join token and a new TLS connection for each, and
// certificates of its root verified. The clients come from many loopback addresses, as members do from many hosts.

import { randomUUID } from 'node:crypto'
import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { request as httpRequest } from 'node:http'
import { request as httpsRequest } from 'node:https'
import os from 'node:os'
import path from 'node:path'
import { TLS_FLOOR } from '../../host/tls.js'
import { makeKeyAndCsr } from '../../member/identity/csr.js'
import { parseJoinToken } from '../../mesh/wire/enrolment.js'
import { cpuMsOf } from '../proc.js'
import { exitOf, freePorts, launch, stop, until } from '../processes.js'
import { quantile } from '../statistics.js'

export interface Enrolments {
  readonly count: number
  readonly perSecond: number
  readonly p50Ms: number
  readonly p99Ms: number
  /** User and system time of the CA for each; null where /proc does not tell. */
  readonly caCpuUs: number | null
}

const CLIENTS = 32
const HOST = '127.0.0.1'

interface Prepared {
  readonly from: string
  readonly body: string
}

/** @throws Error when the CA does not start, or an enrolment is not answered with 200 */
export async function measureEnrolments(dist: string, count: number): Promise<Enrolments> {
  const home = mkdtempSync(path.join(os.tmpdir(), 'tb-'))
  const troth = (...args: string[]): ReturnType<typeof launch> =>
    launch(path.join(dist, 'cli/main.js'), ['--home', home, '--dev', ...args])
  const made = troth('init', '--trust-domain', 'bench.internal')
  if ((await exitOf(made)) !== 0) throw new Error(`troth init failed:\n${made.said()}`)
  const [port = 0] = await freePorts(1)
  const ca = troth('ca', 'serve', '--ca-port', String(port), '--log-level', 'warn')
  try {
    const socketPath = path.join(home, 'ca/admin.sock')
    await until(ca, () => answers(socketPath))
    const prepared: Prepared[] = []
    for (let index = 0; index < count; index += 1) prepared.push(await prepare(socketPath, index))
    return await enrolAll(prepared, { port, ca: readFileSync(path.join(home, 'ca/root.pem'), 'utf8') }, () =>
      cpuMsOf([ca.pid]),
    )
  } finally {
    await stop(ca)
    rmSync(home, { recursive: true, force: true })
  }
}

async function enrolAll(
  prepared: readonly Prepared[],
  to: { port: number; ca: string },
  cpuMs: () => number | null,
): Promise<Enrolments> {
  const latencies: number[] = []
  const waiting = [...prepared]
  const before = cpuMs()
  const startedAt = performance.now()
  const client = async (): Promise<void> => {
    for (let next = waiting.pop(); next !== undefined; next = waiting.pop()) {
      const sentAt = performance.now()
      await enrol(next, to)
      latencies.push(performance.now() - sentAt)
    }
  }
  await Promise.all(Array.from({ length: CLIENTS }, client))
  const elapsedMs = performance.now() - startedAt
  const after = cpuMs()
  return {
    count: prepared.length,
    perSecond: prepared.length / (elapsedMs / 1000),
    p50Ms: quantile(latencies, 0.5),
    p99Ms: quantile(latencies, 0.99),
    caCpuUs: before === null || after === null ? null : ((after - before) * 1000) / prepared.length,
  }
}

/** An agent of its own, its token, and the request that it will send. */
async function prepare(socketPath: string, index: number): Promise<Prepared> {
  const name = `agent-${index}`
  const minted = await exchange(
    httpRequest({ socketPath, method: 'POST', path: '/v1/tokens' }),
    JSON.stringify({ kind: 'agent', name }),
  )
  const { token } = JSON.parse(minted) as { token: string }
  const instanceId = randomUUID()
  const { csrPem } = await makeKeyAndCsr({ commonName: name, instanceId })
  const { secret } = parseJoinToken(token)
  return {
    from: `127.0.${(index >> 7) & 0x7f}.${(index & 0x7f) + 1}`,
    body: JSON.stringify({ secret, kind: 'agent', name, instanceId, csrPem }),
  }
}

function enrol({ from, body }: Prepared, { port, ca }: { port: number; ca: string }): Promise<string> {
  const options = { ...TLS_FLOOR, host: HOST, port, ca, agent: false, method: 'POST', path: '/v1/enrol' }
  return exchange(httpsRequest({ ...options, localAddress: from }), body)
}

/** Sends a JSON body. @throws Error when the answer is no success */
function exchange(outgoing: ReturnType<typeof httpRequest>, body: string): Promise<string> {
  return new Promise((resolve, reject) => {
    outgoing.on('error', reject)
    outgoing.on('response', (response) => {
      let text = ''
      response.setEncoding('utf8')
      response.on('data', (chunk: string) => {
        text += chunk
      })
      response.on('error', reject)
      response.on('end', () => {
        const { statusCode = 0 } = response
        if (statusCode >= 200 && statusCode < 300) resolve(text)
        else reject(new Error(`answered ${statusCode}: ${text.slice(0, 300)}`))
      })
    })
    outgoing.setHeader('content-type', 'application/json')
    outgoing.end(body)
  })
}

const answers = (socketPath: string): Promise<boolean> =>
  new Promise((resolve) => {
    const asked = httpRequest({ socketPath, path: '/v1/agents' }, (response) => {
      response.resume()
      resolve(response.statusCode === 200)
    })
    asked.on('error', () => resolve(false))
    asked.end()
  })
