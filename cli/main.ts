#!/usr/bin/env node
// The entry of the program `troth`: hands the process to the command line and takes its exit code.

import { readFileSync } from 'node:fs'
import { systemClock } from '../host/clock.js'
import { calledAs } from './exit.js'
import { openOutput } from './output.js'
import { runCommandLine } from './program.js'

const script = process.argv[1] ?? 'troth'
const cwd = process.cwd()
const { version } = JSON.parse(readFileSync(new URL('../../package.json', import.meta.url), 'utf8')) as {
  version: string
}
const shell = {
  out: openOutput(process.stdout, process.stderr),
  clock: systemClock,
  called: calledAs(script, cwd, process.env['npm_command']),
  cwd,
  env: process.env,
  stdin: process.stdin,
  script,
}
process.exitCode = await runCommandLine(shell, version, process.argv.slice(2))
