// A whole mesh of built processes: CA and collector (`troth up`), and sidecars beside a small echo app, each on ports of its own.

import { readFileSync, writeFileSync } from 'node:fs'
import { createServer, type Server } from 'node:http'
import path from 'node:path'
import { type CliHome, freePort, openCliHome, type Running, ready, until } from './cli-home.js'

export const POLICY = `version: 1
agents:
  - {id: agent/planner, scopes: [tickets:read, tickets:write]}
services:
  - id: agent/tickets
    operations:
      - {match: {method: GET, path: /tickets/**}, scope: tickets:read}
      - {match: {method: POST, path: /tickets/**}, scope: tickets:write}
      - {match: {method: GET, path: /events}, scope: tickets:read}
      - {match: {method: DELETE, path: /tickets/**}, scope: tickets:delete}
  - id: agent/absent
    operations:
      - {match: {method: GET, path: /**}, scope: tickets:read}
`

export interface SidecarPorts {
  readonly egress: number
  readonly ingress: number
  readonly admin: number
}

export interface StartedSidecar {
  readonly name: string
  readonly ports: SidecarPorts
  readonly running: Running
  /** The local credential, as it is now. */
  credential(): string
}

export interface CliMesh extends AsyncDisposable {
  readonly home: CliHome
  readonly caPort: number
  readonly collectorPort: number
  up: Running
  startUp(): Promise<Running>
  sidecar(name: string, args?: readonly string[], ports?: SidecarPorts): Promise<StartedSidecar>
}

/** `init` arguments and the extra ones of `up`; the default is `--dev`. */
export interface MeshArgs {
  readonly init: readonly string[]
  readonly up: readonly string[]
}

/** @param env for every process of the mesh, beside what the tests have */
export async function openCliMesh(
  args: (home: string) => MeshArgs = () => ({ init: ['--dev'], up: [] }),
  env: Readonly<Record<string, string>> = {},
): Promise<CliMesh> {
  const home = openCliHome(env)
  const caPort = await freePort()
  const collectorPort = await freePort()
  const { init, up } = args(home.dir)
  await home.ok('init', '--trust-domain', 'acme.internal', ...init)
  const startUp = async (): Promise<Running> => {
    const running = home.start(
      'up',
      '--ca-port',
      String(caPort),
      '--collector-port',
      String(collectorPort),
      ...up,
    )
    await until('the CA', async () =>
      (await home.troth('agent', 'list', '--json')).code === 0 ? true : undefined,
    )
    return running
  }
  const mesh: CliMesh = {
    home,
    caPort,
    collectorPort,
    up: await startUp(),
    startUp,
    async sidecar(name, extra = [], ports) {
      const chosen = ports ?? { egress: await freePort(), ingress: await freePort(), admin: await freePort() }
      const running = home.start(
        ...[
          'sidecar',
          '--agent',
          name,
          '--egress-port',
          String(chosen.egress),
          '--ingress-port',
          String(chosen.ingress),
        ],
        ...['--admin-port', String(chosen.admin), ...extra],
      )
      await Promise.race([
        ready(`http://127.0.0.1:${chosen.admin}/readyz`),
        running.ended.then(({ code, stderr }) =>
          Promise.reject(new Error(`sidecar ${name} ended with ${code}: ${stderr}`)),
        ),
      ])
      return {
        name,
        ports: chosen,
        running,
        credential: () =>
          readFileSync(path.join(home.dir, 'agents', name, 'local-credential'), 'utf8').trim(),
      }
    },
    [Symbol.asyncDispose]: () => home[Symbol.asyncDispose](),
  }
  return mesh
}

/** Pushes a policy document. */
export async function pushPolicy(home: CliHome, yaml: string): Promise<void> {
  const file = path.join(home.dir, 'pushed.yaml')
  writeFileSync(file, yaml)
  await home.ok('policy', 'push', file)
}

export interface EchoApp extends AsyncDisposable {
  readonly port: number
  /** Requests that reached it. */
  readonly seen: {
    readonly method: string
    readonly url: string
    readonly headers: Record<string, unknown>
    readonly body: string
  }[]
}

/** An app that answers what it saw; `/events` is an endless SSE stream, one event every 50 ms. */
export async function openEchoApp(): Promise<EchoApp> {
  const seen: EchoApp['seen'] = []
  const server: Server = createServer((request, response) => {
    if (request.url === '/events') {
      response.writeHead(200, { 'content-type': 'text/event-stream' })
      let count = 0
      const timer = setInterval(() => {
        count += 1
        response.write(`data: ${count}\n\n`)
      }, 50)
      response.on('close', () => clearInterval(timer))
      return
    }
    let body = ''
    request.setEncoding('utf8').on('data', (chunk: string) => {
      body += chunk
    })
    request.on('end', () => {
      seen.push({ method: request.method ?? '', url: request.url ?? '', headers: request.headers, body })
      response.writeHead(200, { 'content-type': 'application/json' })
      response.end(
        JSON.stringify({
          method: request.method,
          url: request.url,
          caller: request.headers['x-troth-caller'],
          length: body.length,
        }),
      )
    })
  })
  const port = await new Promise<number>((resolve) => {
    server.listen(0, '127.0.0.1', () => resolve((server.address() as { port: number }).port))
  })
  return {
    port,
    seen,
    [Symbol.asyncDispose]: () =>
      new Promise((resolve) => {
        server.close(() => resolve())
        server.closeAllConnections()
      }),
  }
}
