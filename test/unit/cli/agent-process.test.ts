import { describe, expect, it } from 'vitest'
import { startAgent } from '../../../cli/agent-process.js'
import { isMeshError } from '../../../mesh/errors.js'

const start = (script: string, env: Record<string, string> = {}) =>
  startAgent([process.execPath, '-e', script], {
    env: { ...process.env, ...env },
    interruptedByTerminal: false,
    beforeEnd: () => Promise.resolve(),
  })

describe('the process of an agent', () => {
  it('ends us with its own exit code', async () => {
    const agent = await start('process.exitCode = 7')
    expect(await agent.exited).toBe(7)
  })

  it('gets the environment it is given', async () => {
    const agent = await start('process.exitCode = Number(process.env.TROTH_TEST)', { TROTH_TEST: '9' })
    expect(await agent.exited).toBe(9)
  })

  it('ends us with 128 + n when signal n ended it', async () => {
    const agent = await start('setInterval(() => {}, 1000)')
    agent.stop()
    expect(await agent.exited).toBe(143)
  })

  it('is ended by a signal when what comes before has ended, by a second one at once', async () => {
    for (const signals of [1, 2]) {
      let before = 0
      let end = (): void => undefined
      const agent = await startAgent([process.execPath, '-e', 'setInterval(() => {}, 1000)'], {
        env: process.env,
        interruptedByTerminal: false,
        beforeEnd: () => {
          before += 1
          return new Promise((resolve) => {
            end = resolve
          })
        },
      })
      for (let sent = 0; sent < signals; sent += 1) process.emit('SIGTERM')
      expect(before).toBe(1)
      if (signals === 1) {
        const first = await Promise.race([agent.exited, new Promise((resolve) => setImmediate(resolve))])
        expect(first).toBeUndefined()
        end()
      }
      expect(await agent.exited).toBe(143)
    }
  })

  it('leaves no signal handler behind', async () => {
    const before = process.listenerCount('SIGTERM')
    await (await start('')).exited
    expect(process.listenerCount('SIGTERM')).toBe(before)
  })

  it('that cannot be started is COMMAND_FAILED', async () => {
    const failure = await startAgent(['/nonexistent/agent'], {
      env: process.env,
      interruptedByTerminal: false,
      beforeEnd: () => Promise.resolve(),
    }).catch((error: unknown) => error)
    expect(isMeshError(failure, 'COMMAND_FAILED')).toBe(true)
  })
})
