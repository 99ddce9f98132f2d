// troth demo: a whole mesh of real processes in a temporary home; what is allowed, denied, revoked and refused, and the ledger of
// it all. It fails when a step does not show what it should, and leaves nothing behind.

import { mkdtempSync, rmSync } from 'node:fs'
import os from 'node:os'
import path from 'node:path'
import { Command } from 'commander'
import { formatDuration } from '../../mesh/duration.js'
import { type DefineCommand, withExamples } from '../command.js'
import { openStage, type Stage } from '../demo/stage.js'
import {
  enrolApps,
  enrolPlanner,
  raiseMesh,
  showAllowed,
  showDenied,
  showLedger,
  showRevoked,
  showStranger,
} from '../demo/steps.js'
import { quoted } from '../exit.js'
import { type Session, stayAlive } from '../session.js'

interface Options {
  readonly keep?: boolean
}

export const demoCommand: DefineCommand = (context) =>
  withExamples(
    new Command('demo')
      .description('see a whole mesh at work: CA, collector and three agents in a temporary home')
      .option('--keep', 'leave it running until Ctrl-C')
      .action((options: Options) => demo(context.session(), options)),
    context,
    'demo',
    'demo --keep',
  )

async function demo(session: Session, { keep = false }: Options): Promise<void> {
  const home = mkdtempSync(path.join(os.tmpdir(), 'troth-demo-'))
  const stage = openStage(session, home)
  const letGo = stayAlive()
  const interrupted = untilSignal()
  try {
    const ended = await Promise.race([play(stage), interrupted.signal])
    if (ended !== 'played') session.exitWith(130)
    else if (keep) {
      tellWhereItRuns(session, home)
      await interrupted.signal
    } else tellWhatNext(session)
  } catch (error) {
    tellOutputs(stage)
    throw error
  } finally {
    await stage.processes.stopAll()
    rmSync(home, { recursive: true, force: true })
    interrupted.forget()
    letGo()
  }
}

async function play(stage: Stage): Promise<'played'> {
  const { clock, out, json } = stage.session
  const startedAt = clock.monotonic()
  await raiseMesh(stage)
  await enrolApps(stage)
  const doors = await enrolPlanner(stage)
  await showAllowed(stage, doors)
  await showDenied(stage, doors)
  await showRevoked(stage, doors)
  await showStranger(stage)
  await showLedger(stage)
  if (!json) out.line('')
  talk(stage.session, `every step showed what it should, in ${formatDuration(clock.monotonic() - startedAt)}`)
  return 'played'
}

/** What is no data: with --json it does not stand among it. */
const talk = ({ out, json }: Session, line: string): void => (json ? out.say(line) : out.line(line))

/** Resolves at the first Ctrl-C or SIGTERM. */
function untilSignal(): { readonly signal: Promise<'signal'>; forget(): void } {
  const names = ['SIGINT', 'SIGTERM', 'SIGHUP'] as const
  let tell: () => void = () => undefined
  const signal = new Promise<'signal'>((resolve) => {
    tell = () => resolve('signal')
  })
  for (const name of names) process.once(name, tell)
  return {
    signal,
    forget: () => {
      for (const name of names) process.removeListener(name, tell)
    },
  }
}

function tellOutputs({ session, processes }: Stage): void {
  for (const { name, output } of processes.all) {
    const lines = output().slice(-20)
    if (lines.length > 0) session.out.say([`-- ${name}`, ...lines].join('\n'))
  }
}

/** How to type this program from any directory. */
const anywhere = ({ called, script }: Session): string =>
  called === 'troth' ? 'troth' : `node ${quoted(script)}`

function tellWhereItRuns(session: Session, home: string): void {
  const troth = `${anywhere(session)} --home ${quoted(home)}`
  const lines = [
    `it runs until Ctrl-C, in ${home}; in another terminal:`,
    `  ${troth} audit tail`,
    `  ${troth} agent list`,
    `  ${troth} can planner tickets DELETE /tickets/1`,
  ]
  for (const line of lines) talk(session, line)
}

function tellWhatNext(session: Session): void {
  const troth = anywhere(session)
  const lines = [
    'the same with your own agents:',
    `  ${troth} init --trust-domain acme.internal --dev`,
    `  ${troth} up`,
    'and in a second terminal, with who may call what written into ~/.troth/policy.yaml:',
    `  ${troth} policy push`,
    `  ${troth} run tickets --app 127.0.0.1:8080 -- YOUR_APP`,
    `  ${troth} run planner -- YOUR_CALLER        # it calls $TROTH_URL/@tickets/...`,
  ]
  for (const line of lines) talk(session, line)
}
