//! The forward half of the smoother: hypotheses about the calcium after one more frame.

use super::cells::{Grid, MAX_CELLS};
use super::choices::{Peak, ln_factorial as ln_factorial_of};
use super::dynamics::State;
use super::hypotheses::{Edge, FrameStart, Node, Proposal, Smoother};
use super::lookahead::Frame;
use super::{CountModel, Sensor};

/// Hypotheses this much less likely than the best are dropped, as a logarithm: one in a hundred thousand.
const NEGLIGIBLE: f64 = 11.5;
/// Where even later frames cannot save a hypothesis: its weight would leave the range of an `f32`.
const HOPELESS: f64 = 75.0;
/// Most counts looked at on either side of a hypothesis' likeliest.
const MAX_SIDE: usize = 1024;
/// Where counts are so vague that more than this many proposals would be made, cells grow.
const MAX_PROPOSALS: usize = 16_384;
const MIN_CELLS: usize = 32;

/// What one frame adds, or several.
#[derive(Default)]
pub(super) struct Step {
    pub log_evidence: f64,
    pub discarded: f64,
}

impl<const P: usize> Smoother<P> {
    /// Takes in one more frame.
    pub(super) fn step<S: Sensor>(
        &mut self,
        model: &CountModel<P, S>,
        grid: &Grid,
        x: f64,
        frame: &Frame<P>,
    ) -> Step {
        let parents = self.frames[self.frames.len() - 1].node;
        let [greatest, ahead] = self.propose(model, parents, x, frame);
        let mut dropped = 0.0;
        self.proposals.retain(|proposal| {
            let behind = greatest - proposal.log_weight;
            let keep = behind <= NEGLIGIBLE
                || (behind <= HOPELESS && proposal.log_ahead >= ahead - NEGLIGIBLE);
            if !keep {
                dropped += (proposal.log_weight - greatest).exp();
            }
            keep
        });
        let total = self.merge(parents, grid, greatest);
        let density = match x.is_nan() {
            true => 0.0,
            false => 0.5 * (model.sensor.precision() / std::f64::consts::TAU).ln(),
        };
        Step {
            log_evidence: greatest + total.ln() - frame.prior.mean + density,
            discarded: dropped / (total + dropped),
        }
    }

    /// Fills `proposals`: the counts after each hypothesis that the trace so far, or the Gaussian view of later
    /// frames, leaves likely. The greatest of both logarithms.
    fn propose<S: Sensor>(
        &mut self,
        model: &CountModel<P, S>,
        parents: usize,
        x: f64,
        frame: &Frame<P>,
    ) -> [f64; 2] {
        let candidate = Candidate {
            model,
            x,
            log_mean: frame.prior.log_mean,
            ln_factorials: &self.ln_factorials,
        };
        let mut falloff = None;
        let mut greatest = [f64::NEG_INFINITY; 2];
        self.proposals.clear();
        for (parent, node) in self.nodes[parents..].iter().enumerate() {
            let without = model.calcium.carry(node.state);
            let view = frame.message.along_spikes(&model.calcium, without);
            let falloff = *falloff.get_or_insert_with(|| view.falloff());
            let peak = Peak::find(&frame.prior, &view, falloff).best;
            let log_parent = node.weight.ln();
            let log_without = frame.message.log_density(without);
            let mut walk = |counts: &mut dyn Iterator<Item = usize>| {
                let mut before = [f64::NEG_INFINITY; 2];
                for count in counts.take(MAX_SIDE) {
                    let (state, log_prior, log_likelihood) = candidate.at(without, count);
                    let log_prior = log_parent + log_prior;
                    let logs = [
                        log_prior + log_likelihood,
                        log_prior + log_without + view.at(count as f64),
                    ];
                    self.proposals.push(Proposal {
                        state,
                        log_weight: logs[0],
                        log_ahead: logs[1],
                        parent: parent as u32,
                        count: count as f32,
                    });
                    let mut goes_on = false;
                    for which in 0..2 {
                        greatest[which] = greatest[which].max(logs[which]);
                        goes_on |= logs[which] >= greatest[which] - NEGLIGIBLE
                            || logs[which] > before[which];
                    }
                    if !goes_on {
                        break;
                    }
                    before = logs;
                }
            };
            walk(&mut (peak..));
            walk(&mut (0..peak).rev());
        }
        greatest
    }

    /// Makes hypotheses of the proposals, and edges; the sum of their weights relative to e^`greatest`.
    fn merge(&mut self, parents: usize, grid: &Grid, greatest: f64) -> f64 {
        let children = self.nodes.len();
        let n_parents = (children - parents).max(1);
        let most = MAX_PROPOSALS * n_parents / self.proposals.len().max(1);
        let most = most.clamp(MIN_CELLS, MAX_CELLS);
        let mut grid = *grid;
        let states = || self.proposals.iter().map(|proposal| &proposal.state);
        while !self.cells.place(&grid, states(), most) {
            grid = grid.coarser();
        }
        self.frames.push(FrameStart {
            node: children,
            edge: self.edges.len(),
        });
        let empty = Node {
            state: [0.0; P],
            weight: 0.0,
        };
        self.nodes.resize(children + self.cells.len(), empty);
        let mut total = 0.0;
        for (proposal, &child) in self.proposals.iter().zip(self.cells.places()) {
            let weight = (proposal.log_weight - greatest).exp();
            total += weight;
            let parent_weight = self.nodes[parents + proposal.parent as usize].weight;
            let node = &mut self.nodes[children + child as usize];
            node.weight += weight;
            for (sum, c) in node.state.iter_mut().zip(proposal.state) {
                *sum += weight * c;
            }
            self.edges.push(Edge {
                parent: proposal.parent,
                child,
                count: proposal.count,
                weight: (weight / parent_weight) as f32,
            });
        }
        for node in &mut self.nodes[children..] {
            node.state = node.state.map(|sum| sum / node.weight);
            node.weight /= total;
        }
        total
    }
}

/// What a frame says of a count after a hypothesis.
struct Candidate<'a, const P: usize, S> {
    model: &'a CountModel<P, S>,
    x: f64,
    log_mean: f64,
    ln_factorials: &'a [f64],
}

impl<const P: usize, S: Sensor> Candidate<'_, P, S> {
    /// The state with the count, and the logarithms of what prior and frame say of it.
    fn at(&self, without: State<P>, count: usize) -> (State<P>, f64, f64) {
        let state = self.model.with_spikes(without, count);
        let ln_factorial = self.ln_factorials.get(count).copied();
        let ln_factorial = ln_factorial.unwrap_or_else(|| ln_factorial_of(count));
        // Where the mean is 0, its logarithm is infinite.
        let log_power = if count == 0 {
            0.0
        } else {
            count as f64 * self.log_mean
        };
        let log_prior = log_power - ln_factorial;
        let log_likelihood = self.model.log_likelihood(self.x, state[0]);
        (state, log_prior, log_likelihood)
    }
}
