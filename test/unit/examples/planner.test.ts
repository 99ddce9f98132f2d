import { execFile } from 'node:child_process'
import path from 'node:path'
import { expect, test } from 'vitest'
import { CallError, openMesh, watch, work } from '../../../examples/planner.js'
import { CALLER, openDesk, ROOT } from './desk.js'

test('the planner answers every open ticket from the documentation', async () => {
  await using desk = await openDesk()
  const lines: string[] = []
  expect(await work(openMesh(desk.env), (line) => lines.push(line))).toBe(true)
  expect(lines).toHaveLength(11)
  expect(lines.at(-1)).toBe('planner: 0 open tickets left')
  const answered = desk.stored().filter(({ status }) => status === 'answered')
  expect(answered).toHaveLength(9)
  expect(answered.every(({ comments }) => comments[0]?.author === CALLER)).toBe(true)
})

test.each([
  ['1', /7410 \(CA\) and 7411 \(collector\)/],
  ['2', /ten minutes/],
  ['3', /`python3`, `make` and `g\+\+`/],
  ['4', /CA down.*all calls/],
  ['5', /audit\.onFailure/],
  ['6', /troth agent restore NAME/],
  ['7', /one encrypted file .*keys as they lie/],
  ['8', /does not protect one agent from another/],
  ['9', /body\.max/],
])('what the planner finds for ticket %s answers it', async (wanted, answer) => {
  await using desk = await openDesk()
  await work(openMesh(desk.env), () => undefined)
  expect(desk.stored().find(({ id }) => id === wanted)?.comments[0]?.text).toMatch(answer)
})

test('a denial is shown with its code and hint', async () => {
  await using desk = await openDesk()
  const call = openMesh(desk.env)
  const error = await call('DELETE', '/@tickets/tickets/3').catch((reason: unknown) => reason)
  expect(error).toBeInstanceOf(CallError)
  expect((error as CallError).code).toBe('POLICY_SCOPE_MISSING')
  expect((error as CallError).message).toContain('hint: do otherwise')
})

test('a stream that is cut is told from one that ended', async () => {
  await using desk = await openDesk()
  const lines: string[] = []
  const say = (line: string): void => {
    lines.push(line)
    if (line === 'watch: heartbeat') desk.cut()
  }
  expect(await watch(openMesh(desk.env), say)).toBe(false)
  expect(lines.at(-1)).toMatch(/^watch: cut after \d+ events \(.+\)$/)
})

test('without the environment of troth run the planner says so', () => {
  expect(() => openMesh({})).toThrow('TROTH_URL')
})

test('the planner in Python does the same', async () => {
  await using desk = await openDesk()
  const output = await new Promise<string>((resolve, reject) => {
    execFile(
      'python3',
      [path.join(ROOT, 'examples/planner.py')],
      { env: { ...process.env, ...desk.env } },
      (error, stdout, stderr) =>
        error === null ? resolve(stdout) : reject(new Error(`${error.message}\n${stderr}`)),
    )
  })
  expect(output.trim().split('\n').at(-1)).toBe('planner: 0 open tickets left')
  expect(desk.stored().filter(({ status }) => status === 'open')).toEqual([])
})
