// A mesh as the example agents see it, without the mesh: one plain HTTP server that does what a pair of sidecars would do to a
// request (find the callee, name the caller, prove itself to the app), and can deny or cut like they do.

import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import http from 'node:http'
import type { AddressInfo } from 'node:net'
import os from 'node:os'
import path from 'node:path'
import { searchApp } from '../../../examples/search.js'
import { type Ticket, ticketsApp } from '../../../examples/tickets.js'

export const ROOT = path.join(import.meta.dirname, '../../..')
export const CALLER = 'spiffe://acme.internal/agent/planner'
const SECRET = 'a-secret-of-this-test'
const CREDENTIAL = 'a-credential-of-this-test'

export interface Desk extends AsyncDisposable {
  /** What `troth run` would put into the agent's environment. */
  readonly env: { readonly TROTH_URL: string; readonly TROTH_LOCAL_CREDENTIAL: string }
  readonly ticketsUrl: string
  readonly searchUrl: string
  readonly secret: string
  stored(): readonly Ticket[]
  /** Ends every connection of the agents, as a revocation would. */
  cut(): void
}

const listen = async (server: http.Server): Promise<string> => {
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  return `http://127.0.0.1:${(server.address() as AddressInfo).port}`
}

export async function openDesk(): Promise<Desk> {
  const dir = mkdtempSync(path.join(os.tmpdir(), 'desk-'))
  const file = path.join(dir, 'tickets.json')
  const secretFile = path.join(dir, 'secret')
  writeFileSync(file, readFileSync(path.join(ROOT, 'examples/tickets.json')))
  writeFileSync(secretFile, `${SECRET}\n`)
  const tickets = ticketsApp(file, secretFile)
  const search = searchApp(ROOT, secretFile)
  const apps = { tickets: await listen(tickets), search: await listen(search) }
  const mesh = http.createServer((request, response) => standIn(apps, request, response))
  const env = { TROTH_URL: await listen(mesh), TROTH_LOCAL_CREDENTIAL: CREDENTIAL }
  return {
    env,
    ticketsUrl: apps.tickets,
    searchUrl: apps.search,
    secret: SECRET,
    stored: () => JSON.parse(readFileSync(file, 'utf8')) as Ticket[],
    cut: () => mesh.closeAllConnections(),
    async [Symbol.asyncDispose]() {
      for (const server of [mesh, tickets, search]) {
        server.closeAllConnections()
        await new Promise((resolve) => server.close(resolve))
      }
      rmSync(dir, { recursive: true })
    },
  }
}

function standIn(
  apps: Readonly<Record<string, string>>,
  request: http.IncomingMessage,
  response: http.ServerResponse,
): void {
  const deny = (code: string): void => {
    response.writeHead(403, { 'content-type': 'application/problem+json' })
    response.end(JSON.stringify({ code, detail: 'not so', hint: 'do otherwise' }))
  }
  const [, callee = '', rest = ''] = /^\/@([a-z]+)(\/.*)$/.exec(request.url ?? '') ?? []
  const base = apps[callee]
  const refused =
    request.headers['x-troth-local-credential'] !== CREDENTIAL
      ? 'LOCAL_CREDENTIAL_REQUIRED'
      : request.method === 'DELETE'
        ? 'POLICY_SCOPE_MISSING'
        : undefined
  if (refused !== undefined || base === undefined) {
    deny(refused ?? 'CALLEE_UNKNOWN')
    return
  }
  const onward = http.request(new URL(rest, base), {
    method: request.method ?? 'GET',
    headers: { ...request.headers, 'x-troth-ingress': SECRET, 'x-troth-caller': CALLER },
  })
  onward.on('response', (answer) => {
    response.writeHead(answer.statusCode ?? 500, answer.headers)
    answer.pipe(response)
  })
  onward.on('error', () => response.destroy())
  response.on('close', () => onward.destroy())
  request.pipe(onward)
}
