import { describe, expect, it } from 'vitest'
import { MeshError } from '../../../mesh/errors.js'
import { parseAgentName, parseSpiffeId } from '../../../mesh/spiffe-id.js'
import type { RunningSidecar, SidecarConfig } from '../../../sidecar/config.js'
import { type OpenedSidecar, startTogether } from '../../../sidecar/together.js'
import { memoryLog } from '../../support/memory-log.js'
import { QUIET } from '../../support/real-sidecars.js'

/** A sidecar that only lives and dies. */
class Life {
  readonly opened: OpenedSidecar
  hasStopped = false
  end: () => void = () => undefined
  fail: (error: unknown) => void = () => undefined

  constructor(name: string, heard: Promise<void> = Promise.resolve()) {
    const done = new Promise<void>((resolve, reject) => {
      this.end = resolve
      this.fail = reject
    })
    const running: RunningSidecar = {
      id: parseSpiffeId(`spiffe://acme.internal/agent/${name}`),
      ports: { egress: 1, ingress: 2, admin: 3, to: {} },
      localCredential: '',
      ingressSecretFile: '',
      done,
      stop: () => {
        this.hasStopped = true
        this.end()
        return done
      },
    }
    this.opened = { running, heard }
  }
}

const configOf = (name: string, instance: string | null = null): SidecarConfig => ({
  home: '/nowhere',
  agent: parseAgentName(name),
  instance,
  app: null,
  enrolBy: null,
  listen: '127.0.0.1',
  advertise: null,
  egressPort: null,
  ingressPort: null,
  adminPort: null,
  egressAuth: 'credential',
  to: [],
  dev: true,
  settings: QUIET,
})

/** Lives by the name of their agent; an error: it cannot start. */
function start(lives: Readonly<Record<string, Life | Error>>) {
  const log = memoryLog()
  const open = ({ agent }: SidecarConfig): Promise<OpenedSidecar> => {
    const life = lives[agent]
    return life instanceof Life ? Promise.resolve(life.opened) : Promise.reject(life ?? new Error('unknown'))
  }
  const names = Object.keys(lives)
  return {
    log,
    running: startTogether(
      names.map((name) => configOf(name)),
      open,
      log,
    ),
  }
}

/** Two turns of the event loop: whatever was settled has been heard. */
const settled = async (): Promise<void> => {
  for (let turn = 0; turn < 2; turn += 1) await new Promise((resolve) => setImmediate(resolve))
}

const revoked = (): MeshError => new MeshError('SELF_REVOKED', 'was revoked')

describe('sidecars of one process', () => {
  it('of which one fails while it runs leave it to end alone, tell it, and end with its error', async () => {
    const [a, b] = [new Life('a'), new Life('b')]
    const { log, running } = start({ a, b })
    const { done, stop } = await running
    const end = done.then(
      () => 'well',
      (error: unknown) => error,
    )
    a.fail(new Error('a bug'))
    const line = await log.line('sidecar.failed')
    expect(line).toMatchObject({ level: 'error', fields: { agent: 'a', code: 'INTERNAL' } })
    expect(line.fields['hint']).toBeTypeOf('string')
    await settled()
    expect(b.hasStopped).toBe(false)
    await stop().catch(() => undefined)
    expect(b.hasStopped).toBe(true)
    expect(await end).toMatchObject({ code: 'INTERNAL', message: 'agent a: internal error' })
  })

  it('of which one cannot start serve the others, tell it with its hint, and end with its error', async () => {
    const b = new Life('b')
    const { log, running } = start({ a: revoked(), b })
    const { agents, done, stop } = await running
    expect(agents.map(({ agent, failure }) => [agent, failure?.code])).toEqual([
      ['a', 'SELF_REVOKED'],
      ['b', undefined],
    ])
    expect(log.lines).toContainEqual({
      level: 'error',
      event: 'sidecar.not-started',
      fields: expect.objectContaining({ agent: 'a', code: 'SELF_REVOKED', hint: revoked().hint }),
    })
    void stop().catch(() => undefined)
    await expect(done).rejects.toMatchObject({ code: 'SELF_REVOKED', message: 'agent a: was revoked' })
  })

  it('of which none can start fail with the first one of the file', async () => {
    const { running } = start({ a: revoked(), b: new MeshError('PORT_BUSY', 'taken') })
    await expect(running).rejects.toMatchObject({ code: 'SELF_REVOKED', message: 'agent a: was revoked' })
  })

  it('name the instance of what failed', async () => {
    const log = memoryLog()
    const open = (): Promise<OpenedSidecar> => Promise.reject(revoked())
    await expect(startTogether([configOf('a', 'west')], open, log)).rejects.toMatchObject({
      message: 'agent a@west: was revoked',
    })
  })

  it('are stopped side by side', async () => {
    const lives = { a: new Life('a'), b: new Life('b'), c: new Life('c') }
    // nothing ends by itself: who waited for one before stopping the next would stop one only
    for (const life of Object.values(lives)) life.end = () => undefined
    const { stop } = await start(lives).running
    void stop()
    expect(Object.values(lives).map(({ hasStopped }) => hasStopped)).toEqual([true, true, true])
  })

  it('end well when all did', async () => {
    const lives = { a: new Life('a'), b: new Life('b') }
    const { done, stop } = await start(lives).running
    await stop()
    await expect(done).resolves.toBeUndefined()
  })

  it('start four at a time, in the order of the file, and hear the CA together', async () => {
    const waiting: (() => void)[] = []
    const begun: string[] = []
    let speak = (): void => undefined
    const word = new Promise<void>((resolve) => {
      speak = resolve
    })
    const open = ({ agent }: SidecarConfig): Promise<OpenedSidecar> => {
      begun.push(agent)
      return new Promise((resolve) => waiting.push(() => resolve(new Life(agent, word).opened)))
    }
    const names = Array.from({ length: 9 }, (_, index) => `a${index}`)
    const starting = startTogether(
      names.map((name) => configOf(name)),
      open,
      memoryLog(),
    )
    let isStarted = false
    void starting.then(() => {
      isStarted = true
    })
    for (const most of [4, 8, 9]) {
      await settled()
      expect(begun).toHaveLength(most)
      for (const go of waiting.splice(0)) go()
    }
    await settled()
    expect(begun).toEqual(names)
    expect(isStarted).toBe(false)
    speak()
    expect((await starting).agents.map(({ agent }) => agent)).toEqual(names)
  })

  it('of which one fails while others still start do not take the process down', async () => {
    const a = new Life('a')
    let go = (): void => undefined
    const b = new Promise<OpenedSidecar>((resolve) => {
      go = () => resolve(new Life('b').opened)
    })
    const log = memoryLog()
    const open = ({ agent }: SidecarConfig): Promise<OpenedSidecar> =>
      agent === 'a' ? Promise.resolve(a.opened) : b
    const starting = startTogether([configOf('a'), configOf('b')], open, log)
    await settled()
    a.fail(new Error('a bug'))
    await log.line('sidecar.failed')
    await settled()
    go()
    const { agents } = await starting
    expect(agents.every(({ running }) => running !== null)).toBe(true)
  })
})
