// A ticket desk: serves and edits one JSON file over plain HTTP. Who calls, and whether they may, its sidecar has decided before
// a request arrives here; the app only checks that the request came from that sidecar, and signs comments with the caller's name.
// usage: node tickets.js FILE [PORT | unix:PATH]

import { readFileSync, renameSync, writeFileSync } from 'node:fs'
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http'
import { answering, checkIngress, HttpError, ingressSecretFile, readObject, sendJson, serve } from './app.js'

const STATUSES = ['open', 'answered', 'closed'] as const
type Status = (typeof STATUSES)[number]

export interface Comment {
  /** SPIFFE ID of the caller. */
  readonly author: string
  readonly at: string
  readonly text: string
}

export interface Ticket {
  readonly id: string
  readonly title: string
  readonly question: string
  readonly status: Status
  readonly comments: readonly Comment[]
}

const HEARTBEAT_MS = 250
const MAX_BODY_BYTES = 64 * 1024
/** A reader this far behind is dropped: events are not worth unbounded memory. */
const MAX_UNREAD_BYTES = 1024 * 1024

/** The app as a server that does not listen yet. */
export function ticketsApp(file: string, secretFile: string): Server {
  let tickets = JSON.parse(readFileSync(file, 'utf8')) as readonly Ticket[]
  const watchers = new Set<ServerResponse>()

  const save = (next: readonly Ticket[]): void => {
    writeFileSync(`${file}.tmp`, `${JSON.stringify(next, null, 2)}\n`)
    renameSync(`${file}.tmp`, file)
    tickets = next
  }
  const publish = (event: string, data: unknown): void => {
    for (const watcher of watchers) writeEvent(watcher, event, data)
  }
  const find = (id: string): Ticket => {
    const ticket = tickets.find((each) => each.id === id)
    if (ticket === undefined) throw new HttpError(404, `there is no ticket ${id}`)
    return ticket
  }

  const routes: Record<string, (on: Exchange) => void | Promise<void>> = {
    'GET tickets': ({ response, url }) => {
      const wanted = url.searchParams.get('status')
      sendJson(response, 200, { tickets: tickets.filter(({ status }) => (wanted ?? status) === status) })
    },
    'GET events': ({ response }) => watch(response, watchers),
    'GET ticket': ({ response, id }) => sendJson(response, 200, find(id)),
    'PATCH ticket': async ({ request, response, id }) => {
      const edit = parseEdit(await readObject(request, MAX_BODY_BYTES))
      const changed = apply(find(id), edit, String(request.headers['x-troth-caller'] ?? 'unknown'))
      save(tickets.map((each) => (each.id === id ? changed : each)))
      publish('changed', changed)
      sendJson(response, 200, changed)
    },
    'DELETE ticket': ({ response, id }) => {
      find(id)
      save(tickets.filter((each) => each.id !== id))
      publish('deleted', { id })
      sendJson(response, 200, { deleted: id })
    },
  }

  return createServer(
    answering((request, response) => {
      checkIngress(request, secretFile)
      const url = new URL(request.url ?? '/', 'http://tickets.mesh')
      const path = /^\/tickets(?:\/(events|[0-9]{1,9}))?$/.exec(url.pathname)
      if (path === null) throw new HttpError(404, 'not found')
      const id = path[1] ?? ''
      const resource = id === '' ? 'tickets' : id === 'events' ? 'events' : 'ticket'
      const route = routes[`${request.method ?? ''} ${resource}`]
      if (route === undefined) throw new HttpError(405, 'that method is not served here')
      return route({ request, response, url, id })
    }),
  )
}

interface Exchange {
  readonly request: IncomingMessage
  readonly response: ServerResponse
  readonly url: URL
  readonly id: string
}

/** Server-sent events: every change, and a heartbeat so that a silent stream can be told from a dead one. */
function watch(response: ServerResponse, watchers: Set<ServerResponse>): void {
  response.writeHead(200, { 'content-type': 'text/event-stream', 'cache-control': 'no-store' })
  writeEvent(response, 'hello', { at: new Date().toISOString() })
  watchers.add(response)
  const beat = setInterval(
    () => writeEvent(response, 'heartbeat', { at: new Date().toISOString() }),
    HEARTBEAT_MS,
  )
  response.on('close', () => {
    clearInterval(beat)
    watchers.delete(response)
  })
}

function writeEvent(response: ServerResponse, event: string, data: unknown): void {
  if (response.writableLength > MAX_UNREAD_BYTES) response.destroy()
  else response.write(`event: ${event}\ndata: ${JSON.stringify(data)}\n\n`)
}

interface Edit {
  readonly status: Status | undefined
  readonly comment: string | undefined
}

function parseEdit({ status, comment }: Record<string, unknown>): Edit {
  const known = STATUSES.find((each) => each === status)
  if (status !== undefined && known === undefined)
    throw new HttpError(400, `status must be one of ${STATUSES.join(', ')}`)
  if (comment !== undefined && typeof comment !== 'string') throw new HttpError(400, 'comment must be text')
  if (known === undefined && comment === undefined) throw new HttpError(400, 'give a status or a comment')
  return { status: known, comment }
}

function apply(ticket: Ticket, { status, comment }: Edit, author: string): Ticket {
  const comments =
    comment === undefined
      ? ticket.comments
      : [...ticket.comments, { author, at: new Date().toISOString(), text: comment }]
  return { ...ticket, status: status ?? ticket.status, comments }
}

if (import.meta.filename === process.argv[1]) {
  const [file, where = process.env['PORT']] = process.argv.slice(2)
  if (file === undefined || where === undefined) {
    console.error('usage: tickets.js FILE [PORT | unix:PATH], or PORT in the environment')
    process.exit(2)
  }
  serve('tickets', ticketsApp(file, ingressSecretFile()), where)
}
