// A planner: works through the open tickets by searching the documentation and answering with what it found. It knows one URL
// and one credential, both from its environment (troth run sets them), and speaks plain HTTP: no SDK, no keys, no TLS.
// usage: node planner.js work | delete ID | watch        exit: 0 as it should be, 1 failed, 2 usage, 4 denied by the mesh

import type { Hit } from './search.js'
import type { Ticket } from './tickets.js'

/** An answer other than success; of the mesh (problem+json: code and hint) or of the app. */
export class CallError extends Error {
  readonly status: number
  readonly code: string | undefined
  constructor(call: string, status: number, body: string) {
    const problem = parseProblem(body)
    super(
      problem === undefined
        ? `${call}: ${status} ${body.trim().slice(0, 200)}`
        : `${call}: ${status} ${problem.code}: ${problem.detail}\n  hint: ${problem.hint}`,
    )
    this.status = status
    this.code = problem?.code
  }
}

interface Problem {
  readonly code: string
  readonly detail: string
  readonly hint: string
}

function parseProblem(body: string): Problem | undefined {
  try {
    const problem = JSON.parse(body) as Partial<Problem>
    return typeof problem.code === 'string'
      ? { code: problem.code, detail: problem.detail ?? '', hint: problem.hint ?? '' }
      : undefined
  } catch {
    return undefined
  }
}

/** Calls another agent through this agent's own sidecar: `/@tickets/...` is the agent named tickets. */
export type Call = (method: string, path: string, body?: unknown) => Promise<Response>

export function openMesh(env: NodeJS.ProcessEnv): Call {
  const base = env['TROTH_URL']
  const credential = env['TROTH_LOCAL_CREDENTIAL']
  if (base === undefined) throw new Error('TROTH_URL is not set: start this agent with troth run')
  return async (method, path, body) => {
    const response = await fetch(new URL(path, base), {
      method,
      headers: {
        ...(credential === undefined ? {} : { 'x-troth-local-credential': credential }),
        ...(body === undefined ? {} : { 'content-type': 'application/json' }),
      },
      ...(body === undefined ? {} : { body: JSON.stringify(body) }),
    })
    if (!response.ok) throw new CallError(`${method} ${path}`, response.status, await response.text())
    return response
  }
}

/** Answers every open ticket. @returns true when none is left open */
export async function work(call: Call, say: (line: string) => void): Promise<boolean> {
  const open = async (): Promise<readonly Ticket[]> => {
    const answer = await call('GET', '/@tickets/tickets?status=open')
    return ((await answer.json()) as { tickets: Ticket[] }).tickets
  }
  const tickets = await open()
  say(`planner: ${tickets.length} open tickets`)
  for (const { id, title, question } of tickets) {
    const found = await call('GET', `/@search/search?limit=1&q=${encodeURIComponent(`${title} ${question}`)}`)
    const hit = ((await found.json()) as { hits: Hit[] }).hits[0]
    if (hit === undefined) {
      say(`planner: #${id} ${title} -> nothing found, left open`)
      continue
    }
    const comment = `See ${hit.file}, line ${hit.line} (${hit.heading}): ${hit.snippet}`
    await call('PATCH', `/@tickets/tickets/${id}`, { status: 'answered', comment })
    say(`planner: #${id} ${title} -> ${hit.file}:${hit.line} (${hit.heading})`)
  }
  const left = (await open()).length
  say(`planner: ${left} open tickets left`)
  return left === 0
}

/** Follows the ticket stream. @returns true when the callee ended it, false when it was cut */
export async function watch(call: Call, say: (line: string) => void): Promise<boolean> {
  const response = await call('GET', '/@tickets/tickets/events')
  say('watch: open')
  const decoder = new TextDecoder()
  let events = 0
  let unread = ''
  try {
    for await (const chunk of (response.body ?? []) as AsyncIterable<Uint8Array>) {
      const blocks = (unread + decoder.decode(chunk, { stream: true })).split('\n\n')
      unread = blocks.pop() ?? ''
      for (const block of blocks) say(`watch: ${/^event: (.+)$/m.exec(block)?.[1] ?? 'message'}`)
      events += blocks.length
    }
  } catch (error) {
    say(`watch: cut after ${events} events (${reasonOf(error)})`)
    return false
  }
  say(`watch: ended by the callee after ${events} events`)
  return true
}

const reasonOf = (error: unknown): string => {
  if (!(error instanceof Error)) return String(error)
  return error.cause instanceof Error ? error.cause.message : error.message
}

async function main([mode, id]: readonly string[]): Promise<number> {
  const say = (line: string): void => console.log(line)
  try {
    const call = openMesh(process.env)
    if (mode === 'work') return (await work(call, say)) ? 0 : 1
    if (mode === 'watch') return (await watch(call, say)) ? 0 : 1
    if (mode === 'delete' && id !== undefined) {
      await call('DELETE', `/@tickets/tickets/${encodeURIComponent(id)}`)
      say(`planner: #${id} deleted`)
      return 0
    }
    console.error('usage: planner.js work | delete ID | watch')
    return 2
  } catch (error) {
    console.error(`planner: ${reasonOf(error)}`)
    return error instanceof CallError && error.status === 403 ? 4 : 1
  }
}

if (import.meta.filename === process.argv[1]) process.exitCode = await main(process.argv.slice(2))
