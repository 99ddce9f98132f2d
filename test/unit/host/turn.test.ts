import { describe, expect, it } from 'vitest'
import { openTurn, type Turn } from '../../../host/turn.js'

const turned = (): Promise<void> => new Promise((resolve) => setImmediate(resolve))

function openTold(): { turn: Turn; failures: unknown[] } {
  const failures: unknown[] = []
  return { turn: openTurn((error) => void failures.push(error)), failures }
}

describe('the end of a turn', () => {
  it('commits before it flushes, whatever was asked for first', async () => {
    const { turn } = openTold()
    const done: string[] = []
    turn.flush(() => done.push('flush'))
    turn.commit(() => done.push('commit'))
    expect(done).toEqual([])
    await turned()
    expect(done).toEqual(['commit', 'flush'])
  })

  it('flushes what a commit has begun in the same turn', async () => {
    const { turn } = openTold()
    const done: string[] = []
    turn.commit(() => turn.flush(() => done.push('begun by a commit')))
    await turned()
    expect(done).toEqual(['begun by a commit'])
  })

  it('leaves a commit that a commit or a flush asks for to the next turn, and forgets none', async () => {
    const { turn } = openTold()
    const done: string[] = []
    turn.commit(() => turn.commit(() => done.push('by a commit')))
    turn.flush(() => turn.commit(() => done.push('by a flush')))
    await turned()
    await turned()
    expect(done).toEqual(['by a commit', 'by a flush'])
  })

  it('tells what an act throws, and runs the others', async () => {
    const { turn, failures } = openTold()
    const done: string[] = []
    turn.commit(() => {
      throw new Error('a bug')
    })
    turn.commit(() => done.push('commit'))
    turn.flush(() => done.push('flush'))
    await turned()
    expect(done).toEqual(['commit', 'flush'])
    expect(failures).toEqual([new Error('a bug')])
  })
})
