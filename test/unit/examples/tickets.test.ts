import { expect, test } from 'vitest'
import { CALLER, openDesk } from './desk.js'

const asCaller = (secret: string) => ({ 'x-troth-ingress': secret, 'x-troth-caller': CALLER })

test('open tickets are listed, closed ones are not', async () => {
  await using desk = await openDesk()
  const answer = await fetch(`${desk.ticketsUrl}/tickets?status=open`, { headers: asCaller(desk.secret) })
  const { tickets } = (await answer.json()) as { tickets: { status: string }[] }
  expect(tickets).toHaveLength(9)
  expect(tickets.every(({ status }) => status === 'open')).toBe(true)
})

test('a comment is signed with the caller that the sidecar named, and written to the file', async () => {
  await using desk = await openDesk()
  const answer = await fetch(`${desk.ticketsUrl}/tickets/3`, {
    method: 'PATCH',
    headers: asCaller(desk.secret),
    body: JSON.stringify({ status: 'answered', comment: 'python3, make and g++', author: 'somebody else' }),
  })
  expect(answer.status).toBe(200)
  const ticket = desk.stored().find(({ id }) => id === '3')
  expect(ticket).toMatchObject({
    status: 'answered',
    comments: [{ author: CALLER, text: 'python3, make and g++' }],
  })
})

test('a deleted ticket is gone', async () => {
  await using desk = await openDesk()
  const headers = asCaller(desk.secret)
  expect((await fetch(`${desk.ticketsUrl}/tickets/1`, { method: 'DELETE', headers })).status).toBe(200)
  expect((await fetch(`${desk.ticketsUrl}/tickets/1`, { headers })).status).toBe(404)
  expect(desk.stored().some(({ id }) => id === '1')).toBe(false)
})

test.each([
  ['without the ingress secret', {}],
  ['with a wrong ingress secret', { 'x-troth-ingress': 'a-secret-of-this-tesT' }],
])('a request %s is refused, whatever caller it names', async (_, headers) => {
  await using desk = await openDesk()
  const answer = await fetch(`${desk.ticketsUrl}/tickets`, {
    headers: { ...headers, 'x-troth-caller': CALLER },
  })
  expect(answer.status).toBe(403)
})

test.each([
  ['an unknown status', '{"status":"solved"}', 400],
  ['nothing', '{}', 400],
  ['no JSON', 'status=closed', 400],
  ['a list', '[]', 400],
  ['a comment that is no text', '{"comment":1}', 400],
  ['a body beyond 64 KiB', JSON.stringify({ comment: 'x'.repeat(65_536) }), 413],
])('an edit with %s is refused and changes nothing', async (_, body, status) => {
  await using desk = await openDesk()
  const before = desk.stored()
  const answer = await fetch(`${desk.ticketsUrl}/tickets/1`, {
    method: 'PATCH',
    headers: asCaller(desk.secret),
    body,
  })
  expect(answer.status).toBe(status)
  expect(desk.stored()).toEqual(before)
})

test.each([
  ['GET', '/elsewhere', 404],
  ['GET', '/tickets/77', 404],
  ['GET', '/tickets/1/comments', 404],
  ['POST', '/tickets', 405],
  ['DELETE', '/tickets/events', 405],
])('%s %s answers %i', async (method, path, status) => {
  await using desk = await openDesk()
  const answer = await fetch(`${desk.ticketsUrl}${path}`, { method, headers: asCaller(desk.secret) })
  expect(answer.status).toBe(status)
})

test('the event stream says hello, beats, and tells of a change as it happens', async () => {
  await using desk = await openDesk()
  const headers = asCaller(desk.secret)
  const stream = await fetch(`${desk.ticketsUrl}/tickets/events`, { headers })
  expect(stream.headers.get('content-type')).toBe('text/event-stream')
  const seen = new Set<string>()
  const decoder = new TextDecoder()
  for await (const chunk of stream.body as AsyncIterable<Uint8Array>) {
    for (const [, event = ''] of decoder.decode(chunk).matchAll(/^event: (.+)$/gm)) seen.add(event)
    if (seen.has('hello') && seen.size === 1)
      await fetch(`${desk.ticketsUrl}/tickets/2`, { method: 'PATCH', headers, body: '{"status":"closed"}' })
    if (seen.has('heartbeat') && seen.has('changed')) break
  }
  expect([...seen].sort()).toEqual(['changed', 'heartbeat', 'hello'])
})
