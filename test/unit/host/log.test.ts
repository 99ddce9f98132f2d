import { describe, expect, it } from 'vitest'
import { errorFields, type Level, type Log, openLog } from '../../../host/log.js'
import { MeshError } from '../../../mesh/errors.js'
import { manualClock } from '../../support/manual-clock.js'

function open(level: Level): { log: Log; lines: string[] } {
  const lines: string[] = []
  return { log: openLog({ clock: manualClock(0), level, write: (line) => void lines.push(line) }), lines }
}

describe('a log', () => {
  it('writes one JSON object a line, the event first, with fields of its own and of the call', () => {
    const { log, lines } = open('info')
    log.with({ agent: 'planner' }).info('call.denied', { code: 'X', nothing: undefined })
    expect(lines).toEqual([
      '{"at":"1970-01-01T00:00:00.000Z","level":"info","event":"call.denied","agent":"planner","code":"X"}',
    ])
  })

  it.each<[Level, string[]]>([
    ['debug', ['debug', 'info', 'warn', 'error']],
    ['info', ['info', 'warn', 'error']],
    ['warn', ['warn', 'error']],
    ['error', ['error']],
  ])('of level %s writes %j', (level, wanted) => {
    const { log, lines } = open(level)
    for (const each of ['debug', 'info', 'warn', 'error'] as const) log[each]('e')
    expect(lines.map((line) => (JSON.parse(line) as { level: string }).level)).toEqual(wanted)
  })

  it('never breaks a line, whatever a field holds', () => {
    const { log, lines } = open('info')
    log.info('e', { text: 'a\nb\u001b[31m"' })
    expect(lines[0]).not.toMatch(/\p{Cc}/u)
  })

  it('lets no field take the place of its time, level or event', () => {
    const { log, lines } = open('info')
    log.info('real', { event: 'forged', level: 'error', at: 'never' })
    expect(JSON.parse(lines[0] ?? '')).toEqual({
      at: '1970-01-01T00:00:00.000Z',
      level: 'info',
      event: 'real',
    })
  })
})

describe('the fields of an error', () => {
  it('are its code, message and cause, without a stack for what can be expected', () => {
    const error = new MeshError('PORT_BUSY', 'taken', { cause: new Error('EADDRINUSE') })
    expect(errorFields(error)).toEqual({
      code: 'PORT_BUSY',
      error: 'taken',
      cause: 'EADDRINUSE',
      stack: undefined,
    })
  })

  it("hold the cause's stack for a bug", () => {
    const fields = errorFields(new MeshError('INTERNAL', 'x', { cause: new TypeError('bug') }))
    expect(fields['stack']).toContain('TypeError: bug')
  })

  it('are the text of what was thrown when it is no error', () => {
    expect(errorFields('x')).toEqual({ error: 'x' })
  })
})
