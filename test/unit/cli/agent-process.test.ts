import { describe, expect, it } from 'vitest'
import { startAgent } from '../../../cli/agent-process.js'
import { isMeshError } from '../../../mesh/errors.js'

const start = (script: string, env: Record<string, string> = {}) =>
  startAgent([process.execPath, '-e', script], {
    env: { ...process.env, ...env },
    interruptedByTerminal: false,
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

  it('leaves no signal handler behind', async () => {
    const before = process.listenerCount('SIGTERM')
    await (await start('')).exited
    expect(process.listenerCount('SIGTERM')).toBe(before)
  })

  it('that cannot be started is COMMAND_FAILED', async () => {
    const failure = await startAgent(['/nonexistent/agent'], {
      env: process.env,
      interruptedByTerminal: false,
    }).catch((error: unknown) => error)
    expect(isMeshError(failure, 'COMMAND_FAILED')).toBe(true)
  })
})
