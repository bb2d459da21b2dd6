/** Scripts for `ScriptedServer` in which a seed decides when calls go on, and which of them fail, and how. */
import { type ErrorCode, NetsealError } from '../../src/base/errors.ts';
import type { Script, ScriptedCall, ScriptedOperation } from './scripted-server.ts';
import type { Turns } from './turns.ts';

/**
 * | fault   | what happens                                                  | of                  |
 * | ------- | ------------------------------------------------------------- | ------------------- |
 * | refused | nothing; EUNAVAILABLE                                         | all                 |
 * | full    | nothing; EFULL. Of an upload: all records of it are lost      | place, upload, commit |
 * | denied  | nothing; EDENIED                                              | place, upload, commit |
 * | lost    | the commit happens; EUNCERTAIN                                | commit              |
 * | dropped | the commit does not happen; EUNCERTAIN                        | commit              |
 */
export type TurnFault = 'refused' | 'full' | 'denied' | 'lost' | 'dropped';

export type FaultChooser = (call: ScriptedCall) => TurnFault | undefined;

const WRITING: readonly ScriptedOperation[] = ['place', 'upload', 'commit'];
const ERRORS: Readonly<Record<Exclude<TurnFault, 'lost'>, ErrorCode>> = {
  refused: 'EUNAVAILABLE',
  full: 'EFULL',
  denied: 'EDENIED',
  dropped: 'EUNCERTAIN',
};

/** Each call waits for a turn before it happens, and its answer for another one. */
export function turnScript(turns: Turns, name: string, chooseFault: FaultChooser = () => undefined): Script {
  return call => {
    const { operation, number, units } = call;
    const label = `${name} ${operation} ${number}${units.length === 0 ? '' : ` of ${units.join(',')}`}`;
    const fault = possible(chooseFault(call), operation);
    const before = turns.turn(`${label} begins`);
    // The call happens in the turn that ends `before`.
    const answer = before
      .then(() => turns.turn(`${label} ends`))
      .then(() => {
        if (fault === 'lost')
          throw new NetsealError('EUNCERTAIN', `the answer to ${label} was lost on purpose`);
      });
    // Nobody waits for the answer to a call that failed.
    answer.catch(() => undefined);
    if (fault === undefined || fault === 'lost') return { before, answer };
    return { before, error: new NetsealError(ERRORS[fault], `${label} was ${fault} on purpose`) };
  };
}

function possible(fault: TurnFault | undefined, operation: ScriptedOperation): TurnFault | undefined {
  if (fault === undefined || fault === 'refused') return fault;
  if (fault === 'lost' || fault === 'dropped') return operation === 'commit' ? fault : undefined;
  return WRITING.includes(operation) ? fault : undefined;
}
