//! Which pages of a shard's memory are free: a buddy system over blocks of 1 MiB, and runs of whole blocks above that.
//!
//! It knows page numbers only, no addresses. A block's books are one bit per node of its tree, 64 bytes in all, so the books of
//! 64 GiB fit in 4 MiB and those of one block in a cache line. **Invariant:** a bit is set exactly for the nodes that are free and whose
//! parent is not: two free buddies never stay apart, so what is free in one piece can be reserved in one piece.

/// Bytes of the smallest extent.
pub(crate) const PAGE: usize = 4096;
/// Bytes of a block, the largest extent inside which buddies are split.
pub(crate) const BLOCK: usize = 1 << 20;
/// Pages of a block.
const BLOCK_PAGES: u32 = 256;
/// Sizes from a page to a block, doubling.
const ORDERS: usize = 9;
/// The order of a whole block, which is the root (node 1) of its tree.
const WHOLE: usize = ORDERS - 1;

const _: () = assert!(PAGE << WHOLE == BLOCK && PAGE * BLOCK_PAGES as usize == BLOCK);

/// A reserved range: `pages` pages from page `first` on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Extent {
    pub(crate) first: u32,
    pub(crate) pages: u32,
}

/// The free nodes of one block as a binary heap in bits: node 1 is the whole block, nodes 256 to 511 its pages.
#[derive(Clone, Copy)]
struct Tree([u64; 8]);

impl Tree {
    const NONE_FREE: Self = Self([0; 8]);

    fn is_free(&self, node: u32) -> bool {
        self.0[(node / 64) as usize] & (1 << (node % 64)) != 0
    }

    fn set(&mut self, node: u32) {
        assert!(!self.is_free(node), "a range is freed once");
        self.0[(node / 64) as usize] |= 1 << (node % 64);
    }

    fn clear(&mut self, node: u32) {
        assert!(self.is_free(node));
        self.0[(node / 64) as usize] &= !(1 << (node % 64));
    }

    /// The first free node of an order. Nodes of order k are numbered from 256 >> k to twice that.
    fn first_of(&self, order: usize) -> Option<u32> {
        let begin = BLOCK_PAGES >> order;
        if begin < 64 {
            let level = ((1u64 << begin) - 1) << begin;
            let free = self.0[0] & level;
            return (free != 0).then(|| free.trailing_zeros());
        }
        let words = (begin / 64) as usize..(begin / 32) as usize;
        let mut base = begin;
        for word in &self.0[words] {
            if *word != 0 {
                return Some(base + word.trailing_zeros());
            }
            base += 64;
        }
        None
    }
}

/// A set of block numbers that finds its lowest member without walking what is known to be empty.
struct BlockSet {
    words: Vec<u64>,
    /// No word before this one has a bit.
    lowest: usize,
}

impl BlockSet {
    fn new(blocks: usize) -> Self {
        Self {
            words: vec![0; blocks.div_ceil(64)],
            lowest: blocks.div_ceil(64),
        }
    }

    fn insert(&mut self, block: usize) {
        self.words[block / 64] |= 1 << (block % 64);
        self.lowest = self.lowest.min(block / 64);
    }

    fn remove(&mut self, block: usize) {
        self.words[block / 64] &= !(1 << (block % 64));
    }

    fn contains(&self, block: usize) -> bool {
        self.words[block / 64] & (1 << (block % 64)) != 0
    }

    fn first(&mut self) -> Option<usize> {
        while let Some(word) = self.words.get(self.lowest) {
            if *word != 0 {
                return Some(self.lowest * 64 + word.trailing_zeros() as usize);
            }
            self.lowest += 1;
        }
        None
    }
}

/// The books over a number of blocks. Addresses grow upwards: low blocks are used first, so that the upper end stays untouched.
pub(crate) struct Buddy {
    trees: Vec<Tree>,
    /// Per order, the blocks that have a free node of it.
    having: [BlockSet; ORDERS],
    /// Blocks handed out since their pages were last given back: only these can hold memory.
    touched: BlockSet,
    blocks: usize,
}

impl Buddy {
    /// Books over `blocks` blocks, all free.
    pub(crate) fn new(blocks: usize) -> Self {
        let mut buddy = Self {
            trees: vec![Tree::NONE_FREE; blocks],
            having: std::array::from_fn(|_| BlockSet::new(blocks)),
            touched: BlockSet::new(blocks),
            blocks,
        };
        for block in 0..blocks {
            buddy.set(block, 1, WHOLE);
        }
        buddy
    }

    /// The length that a request for `bytes` bytes gets: a power of two up to a block, whole blocks above.
    pub(crate) fn rounded(bytes: usize) -> Option<usize> {
        if bytes <= BLOCK {
            Some(bytes.max(PAGE).next_power_of_two())
        } else {
            bytes.checked_next_multiple_of(BLOCK)
        }
    }

    /// Reserves at least `bytes` bytes in one piece, or nothing.
    pub(crate) fn reserve(&mut self, bytes: usize) -> Option<Extent> {
        let length = Self::rounded(bytes)?;
        if length <= BLOCK {
            let order = (length / PAGE).trailing_zeros() as usize;
            self.reserve_node(order)
        } else {
            self.reserve_run(length / BLOCK)
        }
    }

    /// Splits the smallest free node that is large enough; what is left over stays free.
    fn reserve_node(&mut self, order: usize) -> Option<Extent> {
        let (mut at, block) = (order..ORDERS).find_map(|at| self.having[at].first().map(|block| (at, block)))?;
        let mut node = self.trees[block]
            .first_of(at)
            .expect("`having` names blocks that have one");
        self.clear(block, node, at);
        while at > order {
            at -= 1;
            node *= 2;
            self.set(block, node + 1, at);
        }
        self.touched.insert(block);
        let page_in_block = (node - (BLOCK_PAGES >> order)) << order;
        Some(Extent {
            first: page_of(block) + page_in_block,
            pages: 1 << order,
        })
    }

    /// The first run of `count` blocks that are free as a whole.
    fn reserve_run(&mut self, count: usize) -> Option<Extent> {
        let mut begin = self.having[WHOLE].first()?;
        let mut end = begin;
        while end - begin < count {
            if end >= self.blocks {
                return None;
            }
            end += 1;
            if !self.having[WHOLE].contains(end - 1) {
                begin = end;
            }
        }
        for block in begin..end {
            self.clear(block, 1, WHOLE);
            self.touched.insert(block);
        }
        Some(Extent {
            first: page_of(begin),
            pages: page_of(count),
        })
    }

    /// Gives an extent back, joining it with its free buddies.
    pub(crate) fn free(&mut self, extent: Extent) {
        let block = (extent.first / BLOCK_PAGES) as usize;
        if extent.pages > BLOCK_PAGES {
            assert!(extent.first.is_multiple_of(BLOCK_PAGES) && extent.pages.is_multiple_of(BLOCK_PAGES));
            for block in block..block + (extent.pages / BLOCK_PAGES) as usize {
                self.set(block, 1, WHOLE);
            }
            return;
        }
        assert!(extent.pages.is_power_of_two() && extent.first.is_multiple_of(extent.pages));
        let mut order = extent.pages.trailing_zeros() as usize;
        let mut node = (BLOCK_PAGES >> order) + ((extent.first % BLOCK_PAGES) >> order);
        while node > 1 && self.trees[block].is_free(node ^ 1) {
            self.clear(block, node ^ 1, order);
            node /= 2;
            order += 1;
        }
        self.set(block, node, order);
    }

    /// Takes the highest free block whose pages may hold memory off the books of what is touched, or `None`.
    ///
    /// `below` is where to go on looking: the last answer, or the number of blocks at the beginning.
    pub(crate) fn untouch_next(&mut self, below: usize) -> Option<usize> {
        let found = (0..below.min(self.blocks))
            .rev()
            .find(|block| self.touched.contains(*block) && self.having[WHOLE].contains(*block))?;
        self.touched.remove(found);
        Some(found)
    }

    /// Whole blocks that are free and may hold memory.
    pub(crate) fn touched_free(&self) -> usize {
        let both = self.touched.words.iter().zip(&self.having[WHOLE].words);
        both.map(|(touched, free)| (touched & free).count_ones() as usize).sum()
    }

    /// Blocks whose pages may hold memory, in use or free.
    pub(crate) fn touched(&self) -> usize {
        self.touched.words.iter().map(|word| word.count_ones() as usize).sum()
    }

    /// Records that a block's pages hold memory, though nothing was reserved in it.
    pub(crate) fn touch(&mut self, block: usize) {
        self.touched.insert(block);
    }

    fn set(&mut self, block: usize, node: u32, order: usize) {
        self.trees[block].set(node);
        self.having[order].insert(block);
    }

    fn clear(&mut self, block: usize, node: u32, order: usize) {
        self.trees[block].clear(node);
        if self.trees[block].first_of(order).is_none() {
            self.having[order].remove(block);
        }
    }
}

/// The first page of a block.
fn page_of(block: usize) -> u32 {
    u32::try_from(block).expect("16 TiB of pages fit in 32 bits, and the pool refuses more") * BLOCK_PAGES
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A fixed sequence of numbers, so that a failure repeats.
    struct Numbers(u64);
    impl Numbers {
        fn below(&mut self, bound: usize) -> usize {
            self.0 ^= self.0 << 13;
            self.0 ^= self.0 >> 7;
            self.0 ^= self.0 << 17;
            usize::try_from(self.0 % bound as u64).unwrap()
        }
    }

    #[test]
    fn requests_round_to_powers_of_two_then_to_whole_blocks() {
        for (asked, given) in [
            (0, 4096),
            (1, 4096),
            (4097, 8192),
            (600_000, BLOCK),
            (BLOCK, BLOCK),
            (BLOCK + 1, 2 * BLOCK),
            (5 * BLOCK - 3, 5 * BLOCK),
        ] {
            assert_eq!(Buddy::rounded(asked), Some(given), "asked for {asked}");
        }
        assert_eq!(Buddy::rounded(usize::MAX), None);
    }

    #[test]
    fn extents_never_overlap_and_all_space_comes_back_in_one_piece() {
        const BLOCKS: usize = 12;
        let mut buddy = Buddy::new(BLOCKS);
        let mut numbers = Numbers(0x9e37_79b9_7f4a_7c15);
        let mut taken = vec![false; BLOCKS * 256];
        let mut held: Vec<Extent> = Vec::new();
        let (mut refused, mut runs) = (0, 0);
        for step in 0..60_000 {
            // The tide: the pool fills, then drains, twelve times.
            let of_ten = if step / 2500 % 2 == 0 { 6 } else { 3 };
            if numbers.below(10) < of_ten {
                let bytes = match numbers.below(24) {
                    0 => 1 + numbers.below(4 * BLOCK),
                    _ => 1 << numbers.below(21),
                };
                let Some(extent) = buddy.reserve(bytes) else {
                    refused += 1;
                    continue;
                };
                runs += usize::from(extent.pages > 256);
                for page in extent.first..extent.first + extent.pages {
                    assert!(
                        !std::mem::replace(&mut taken[page as usize], true),
                        "page {page} handed out twice"
                    );
                }
                held.push(extent);
            } else if !held.is_empty() {
                let extent = held.swap_remove(numbers.below(held.len()));
                taken[extent.first as usize..][..extent.pages as usize].fill(false);
                buddy.free(extent);
            }
        }
        assert!(
            refused > 100 && runs > 10,
            "the walk must meet both ends: {refused} refused, {runs} runs"
        );
        held.drain(..).for_each(|extent| buddy.free(extent));
        assert_eq!(
            buddy.reserve(BLOCKS * BLOCK),
            Some(Extent {
                first: 0,
                pages: page_of(BLOCKS)
            })
        );
        assert_eq!(buddy.reserve(1), None);
    }

    #[test]
    fn a_full_block_holds_exactly_256_pages() {
        let mut buddy = Buddy::new(1);
        let pages: Vec<_> = (0..256).map(|_| buddy.reserve(1).unwrap()).collect();
        assert_eq!(buddy.reserve(1), None);
        pages.iter().step_by(2).for_each(|page| buddy.free(*page));
        assert_eq!(
            buddy.reserve(2 * PAGE),
            None,
            "every other page is free, no two together"
        );
        buddy.free(pages[1]);
        assert_eq!(buddy.reserve(2 * PAGE), Some(Extent { first: 0, pages: 2 }));
    }

    #[test]
    #[should_panic(expected = "freed once")]
    fn freeing_twice_is_caught() {
        let mut buddy = Buddy::new(1);
        let page = buddy.reserve(1).unwrap();
        let _second = buddy.reserve(1).unwrap();
        buddy.free(page);
        buddy.free(page);
    }

    #[test]
    fn a_run_skips_blocks_that_are_in_use() {
        let mut buddy = Buddy::new(6);
        let low = buddy.reserve(BLOCK).unwrap();
        let page = buddy.reserve(PAGE).unwrap();
        buddy.free(low);
        let run = buddy.reserve(3 * BLOCK).unwrap();
        assert_eq!((page.first, run), (256, Extent { first: 512, pages: 768 }));
    }
}
